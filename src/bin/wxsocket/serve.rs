//! serve
use super::args::ServeArgs;
pub(crate) fn run(_args: &ServeArgs) -> u8 {
    1
}
