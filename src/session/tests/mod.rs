//! The machine lives in a simulated world ([`sim`]): its clock moves only when told, its
//! network follows a script, and everything that happens is on record. Tests compare that
//! record with what they expect, to the millisecond, and every record is also held against
//! the invariants of [`checker`] when its simulation ends.

mod broken;
mod checker;
mod checks;
mod closing;
mod crowd;
mod fleet;
mod heartbeat;
mod hurry;
mod outbox;
mod patience;
mod presets;
mod probe;
mod progress;
mod properties;
mod reconnect;
mod script;
mod sim;
mod sleep;
mod timeline;
mod transitions;
mod written;
