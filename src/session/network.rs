//! What the operating system knows of the network.

/// What the operating system knows of the network that new connections would use.
///
/// Only the first two fields change what the engine does now. The others are stored, and may be
/// left out.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct NetworkStatus {
    /// False when there is no network.
    pub available: bool,
    /// The identity of the network, a text that the system chooses. Another `id` is another
    /// network. The same `id` again is no change: nothing is dialled, and no heartbeat is sent.
    /// Absent: every report of a network counts as a change.
    #[uniffi(default)]
    pub id: Option<String>,
    /// The kind of network.
    #[uniffi(default = None)]
    pub kind: Option<NetworkKind>,
    /// True when its traffic costs money (Android: metered; Apple: expensive).
    #[uniffi(default = false)]
    pub metered: bool,
    /// True when the user has asked apps to save traffic (Android: data saver; Apple: Low Data
    /// Mode).
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
    /// A virtual private network, over any other kind.
    Vpn,
    /// Anything else.
    Other,
}

impl From<bool> for NetworkStatus {
    /// Makes the status of a network of which nothing else is known (true), or of no network
    /// (false).
    fn from(available: bool) -> Self {
        Self { available, id: None, kind: None, metered: false, constrained: false }
    }
}

impl NetworkStatus {
    /// Returns true when connections that were made before `self` was reported may be dead: `self`
    /// is no network, it is another one than `before`, or that cannot be known because it has no
    /// `id`.
    pub(super) fn is_news_after(&self, before: Option<&Self>) -> bool {
        !self.available
            || self.id.is_none()
            || before.is_none_or(|before| !before.available || before.id != self.id)
    }
}
