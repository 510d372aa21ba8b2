// From the app's values to the generated ones, field by field.

import Foundation
internal import WxSocketBindings

typealias Native = WxSocketBindings.SocketTask

extension ConnectOptions {
    func lowered(_ url: String) -> WxSocketBindings.ConnectOptions {
        WxSocketBindings.ConnectOptions(
            url: url,
            header: header,
            protocols: protocols,
            tcpNoDelay: tcpNoDelay,
            timeoutMs: timeout?.milliseconds,
            preset: preset,
            reconnect: reconnect.lowered,
            heartbeat: heartbeat.lowered,
            queue: queue.lowered,
            tls: .init(caPem: trustedCertificates),
            greeting: greeting?.lowered,
            maxMessageBytes: maxMessageBytes.map(Int64.init),
            closeTimeoutMs: closeTimeout?.milliseconds,
            background: background.map {
                switch $0 {
                case .keep: .keep
                case .interrupt(let grace): .interrupt(graceMs: grace.milliseconds)
                }
            })
    }
}

extension ReconnectOptions {
    fileprivate var lowered: WxSocketBindings.ReconnectOptions {
        .init(
            enabled: enabled,
            delay: delay.map {
                switch $0 {
                case .fixed(let delay): .fixed(delayMs: delay.milliseconds)
                case .fullJitter(let first, let min, let max, let slowAfter, let slow):
                    .fullJitter(
                        firstMs: first.milliseconds, minMs: min.milliseconds, maxMs: max.milliseconds,
                        slowAfterMs: slowAfter.milliseconds, slowMs: slow.milliseconds)
                }
            },
            maxAttempts: maxAttempts.map {
                switch $0 {
                case .unlimited: .unlimited
                // Clamped numbers stay out of bounds, so that Rust still refuses them.
                case .attempts(let count): .attempts(count: Int32(clamping: count))
                }
            },
            stableAfterMs: stableAfter?.milliseconds,
            stopCodes: stopCodes?.map(Int32.init(clamping:)),
            stopStatuses: stopStatuses?.map(Int32.init(clamping:)),
            honourRetryAfter: honourRetryAfter)
    }
}

extension HeartbeatOptions {
    fileprivate var lowered: WxSocketBindings.HeartbeatOptions {
        .init(
            enabled: enabled,
            payload: payload.map {
                switch $0 {
                case .text(let text): .text(text: text)
                case .binary(let bytes): .binary(bytes: bytes)
                case .ping: .ping
                }
            },
            intervalMs: interval?.milliseconds,
            timeoutMs: timeout?.milliseconds,
            reply: reply.map {
                switch $0 {
                case .text(let text): .text(text: text)
                case .binary(let bytes): .binary(bytes: bytes)
                case .prefix(let prefix): .prefix(prefix: prefix)
                case .jsonField(let name, let value): .jsonField(name: name, value: value)
                }
            },
            strict: strict,
            deliverReply: deliverReply,
            idleDriven: idleDriven)
    }
}

extension QueueOptions {
    fileprivate var lowered: WxSocketBindings.QueueOptions {
        .init(
            enabled: enabled, messages: messages.map(Int64.init), bytes: bytes.map(Int64.init),
            maxAgeMs: maxAge?.milliseconds, overflow: overflow, openBytes: openBytes.map(Int64.init))
    }
}

extension Message {
    fileprivate var lowered: WxSocketBindings.Message {
        switch self {
        case .text(let text): .text(text: text)
        case .binary(let bytes): .binary(bytes: bytes)
        }
    }
}

extension Duration {
    /// Rounded up, so that no time becomes zero; what does not fit is the nearest that does, which Rust refuses.
    fileprivate var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000)
        let (quotient, rest) = attoseconds.quotientAndRemainder(dividingBy: 1_000_000_000_000_000)
        let (sum, overflowToo) = whole.addingReportingOverflow(quotient + rest.signum())
        return overflow || overflowToo ? (seconds < 0 ? .min : .max) : sum
    }
}
