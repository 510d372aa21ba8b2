//! demo
use super::args::DemoArgs;
pub(crate) fn run(_args: &DemoArgs) -> u8 {
    1
}
