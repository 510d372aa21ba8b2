//! What the operating system knows of the network.

/// What the operating system knows of the network that new connections would use.
///
/// Only the first two fields change what the engine does today. The others are kept for each
/// network, and are free to be left out.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct NetworkStatus {
    /// False: there is no network.
    pub available: bool,
    /// The network's name of the system's choice: two names are two networks. The same name again
    /// is no change, and nothing is dialled or asked. Absent: every report of a network counts as
    /// a change.
    #[uniffi(default)]
    pub id: Option<String>,
    /// What kind of network it is.
    #[uniffi(default = None)]
    pub kind: Option<NetworkKind>,
    /// True: its traffic costs money (Android: metered; Apple: expensive).
    #[uniffi(default = false)]
    pub metered: bool,
    /// True: the user asked apps to save traffic (Android: data saver; Apple: Low Data Mode).
    #[uniffi(default = false)]
    pub constrained: bool,
}

/// A kind of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, uniffi::Enum)]
pub enum NetworkKind {
    /// Wi-Fi.
    Wifi,
    /// A mobile network.
    Cellular,
    /// A cable.
    Ethernet,
    /// A virtual private network, over whatever carries it.
    Vpn,
    /// Anything else.
    Other,
}

impl From<bool> for NetworkStatus {
    /// A network (true) of which nothing else is known, or none (false).
    fn from(available: bool) -> Self {
        Self { available, id: None, kind: None, metered: false, constrained: false }
    }
}

impl NetworkStatus {
    /// True when connections made before `self` was reported may be worse than new ones: it is
    /// not the network of `before`, or nobody can tell.
    pub(super) fn is_news_after(&self, before: Option<&Self>) -> bool {
        !self.available
            || self.id.is_none()
            || before.is_none_or(|before| !before.available || before.id != self.id)
    }
}
