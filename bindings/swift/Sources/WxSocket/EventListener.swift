// The closures of `onOpen` and the others, and the actors that they belong to.

import Foundation

/// A closure that a task calls with each event of one kind.
///
/// A closure that is written inside code of the main actor (a view model, a view) belongs to the main actor: it may use
/// the properties there, and it is called on the main actor. A closure that belongs to another actor is called on that
/// one. All other closures are called on the `callbackQueue` of the options. The top level of `main.swift` is code of
/// the main actor too; a program that blocks its main thread keeps these closures from being called.
///
/// Code of the main actor that wants a closure to be called on the `callbackQueue` gives it a type first:
///
///     let listener: @Sendable (MessageEvent) -> Void = { … }
///     task.onMessage(listener)
///
/// An error that the closure throws is logged and counted (``SocketStats/listenerFailures``); nothing else happens.
public typealias EventListener<Event> = @Sendable @isolated(any) (Event) throws -> Void

/// Identifies a closure that was given to `onOpen` and the others; `offOpen` and the others take it.
public struct ListenerToken: Hashable, Sendable {
    private let id = UUID()

    /// Makes a token that differs from all others.
    public init() {}
}

/// Where a closure is called.
enum Place: Sendable {
    /// On whichever thread the library delivers events.
    case anywhere
    /// On the `callbackQueue` of the options, which is not the main queue.
    case queue
    /// On the main queue, which is where the main actor runs.
    case main
    /// On an actor that is not the main actor.
    case actor(any Actor)

    static func == (one: Place, other: Place) -> Bool {
        switch (one, other) {
        case (.anywhere, .anywhere), (.queue, .queue), (.main, .main): true
        case (.actor(let one), .actor(let other)): one === other
        default: false
        }
    }
}

/// A closure of the app as the hub keeps it. The hub's lock guards what changes.
final class Handler: @unchecked Sendable {
    let token = ListenerToken()
    let kind: SocketEvent.Kind
    /// The actor that the closure belongs to; nil: none.
    let actor: (any Actor)?
    /// Calls the closure if the event is of its kind. The caller is on `actor` if there is one.
    let call: @Sendable (SocketEvent) throws -> Void
    /// The app took the listener off. Guarded by the hub's lock.
    var isOff = false

    init<Event: Sendable>(
        _ kind: SocketEvent.Kind, _ listener: @escaping EventListener<Event>,
        _ select: @escaping @Sendable (SocketEvent) -> Event?
    ) {
        self.kind = kind
        actor = listener.isolation
        // Swift calls such a closure with `await` only, because it may have to change to the closure's actor first.
        // The hub is on that actor already when it calls. The two types differ in nothing but this rule, as those do
        // that `MainActor.assumeIsolated` converts in the same way. They are cast inside structures because systems
        // before iOS 18 and macOS 15 cannot describe the type of the closure itself at run time.
        let closure = unsafeBitCast(WithActor(call: listener), to: WithoutActor<Event>.self).call
        call = { if let event = select($0) { try closure(event) } }
    }
}

private struct WithActor<Event> { let call: EventListener<Event> }
private struct WithoutActor<Event> { let call: @Sendable (Event) throws -> Void }
