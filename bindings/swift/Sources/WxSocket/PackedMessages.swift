// Messages as the engine delivers them: many at a time, in one piece of memory.

import Foundation

/// A run of messages. For each there is a byte (0: text, 1: binary), the length of the payload as a big-endian 32-bit
/// number, and the payload. `next()` reads from the front; a copy has a position of its own.
struct PackedMessages: Sequence, IteratorProtocol {
    private static let head = 5

    let epoch: Int
    let bytes: Data
    private var at = 0

    init(epoch: Int, bytes: Data) {
        self.epoch = epoch
        self.bytes = bytes
    }

    mutating func next() -> SocketEvent? {
        let message: Message? = bytes.withUnsafeBytes { bytes in
            guard at < bytes.count else { return nil }
            let length = Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: at + 1, as: UInt32.self)))
            let isText = bytes[at] == 0
            let payload = UnsafeRawBufferPointer(rebasing: bytes[(at + Self.head)..<(at + Self.head + length)])
            at += Self.head + length
            return isText ? .text(String(decoding: payload, as: UTF8.self)) : .binary(Data(payload))
        }
        return message.map { .message(MessageEvent(epoch: epoch, data: $0)) }
    }
}
