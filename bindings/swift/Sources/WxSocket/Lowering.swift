// From the app's values to the generated ones, field by field.

import Foundation
internal import WxSocketBindings

typealias Native = WxSocketBindings.SocketTask

extension ConnectOptions {
    func lowered(_ url: String) throws(WxError) -> WxSocketBindings.ConnectOptions {
        try WxSocketBindings.ConnectOptions(
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
            maxBufferedBytes: maxBufferedBytes.map(Int64.init),
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
        get throws(WxError) {
            try .init(
                enabled: enabled,
                delay: delay?.lowered,
                maxAttempts: maxAttempts?.lowered,
                stableAfterMs: stableAfter?.milliseconds,
                // Clamped numbers stay out of bounds, so that Rust still refuses them.
                stopCodes: stopCodes?.map(Int32.init(clamping:)),
                stopStatuses: stopStatuses?.map(Int32.init(clamping:)),
                honourRetryAfter: honourRetryAfter)
        }
    }
}

extension ReconnectDelay {
    fileprivate var lowered: WxSocketBindings.ReconnectDelay {
        switch self {
        case .fixed(let delay): .fixed(delayMs: delay.milliseconds)
        case .fullJitter(let first, let min, let max, let slowAfter, let slow):
            .fullJitter(
                firstMs: first.milliseconds, minMs: min.milliseconds, maxMs: max.milliseconds,
                slowAfterMs: slowAfter.milliseconds, slowMs: slow.milliseconds)
        }
    }
}

extension AttemptLimit {
    fileprivate var lowered: WxSocketBindings.AttemptLimit {
        get throws(WxError) {
            switch self {
            case .unlimited: return .unlimited
            case .attempts(let count):
                // Rust's largest number is in bounds: clamped to it, too many would be accepted.
                guard let count32 = Int32(exactly: count) else {
                    throw .invalid("reconnect.maxAttempts", "\(count) is not between 1 and \(Int32.max)")
                }
                return .attempts(count: count32)
            }
        }
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
            maxAgeMs: maxAge?.milliseconds, overflow: overflow)
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
