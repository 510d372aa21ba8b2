//! Times as they cross the FFI.

use std::fmt;
use std::time::Duration;

/// A time in whole milliseconds. Kotlin and Swift have a `Duration` in its place.
///
/// It is signed and not limited: a time that an option does not accept, a negative one for
/// instance, is an error that names the option, and not a conversion that fails.
///
/// ```
/// use std::time::Duration;
/// use wxsocket::Millis;
///
/// assert_eq!(Millis::from(Duration::from_secs(5)), Millis(5_000));
/// assert_eq!(Millis::from_secs(5).to_duration(), Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize))]
pub struct Millis(pub i64);

uniffi::custom_newtype!(Millis, i64);

impl Millis {
    /// So many seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// The same time as a `Duration`; zero for a negative one.
    pub fn to_duration(self) -> Duration {
        Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }
}

impl From<Duration> for Millis {
    /// Rounds up, so that no time becomes zero. A time that does not fit becomes the longest one.
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_rounded_up() {
        assert_eq!(Millis::from(Duration::from_nanos(1)), Millis(1));
        assert_eq!(Millis::from(Duration::from_micros(1_001)), Millis(2));
        assert_eq!(Millis::from(Duration::ZERO), Millis(0));
        assert_eq!(Millis::from(Duration::MAX), Millis(i64::MAX));
        assert_eq!(Millis(-1).to_duration(), Duration::ZERO);
    }
}
