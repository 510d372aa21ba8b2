// Messages as Rust hands them over: many at a time, in one piece of memory.

import Foundation

/// For each: a byte (0: text, 1: binary), the payload's length as a big-endian 32-bit number, the payload.
struct PackedMessages {
    private static let head = 5

    let bytes: UnsafeRawBufferPointer

    var count: Int {
        var (count, at) = (0, 0)
        while at < bytes.count {
            at += Self.head + length(at)
            count += 1
        }
        return count
    }

    func forEach(_ body: (Message) -> Void) {
        var at = 0
        while at < bytes.count {
            let end = at + Self.head + length(at)
            let payload = UnsafeRawBufferPointer(rebasing: bytes[(at + Self.head)..<end])
            body(bytes[at] == 0 ? .text(String(decoding: payload, as: UTF8.self)) : .binary(Data(payload)))
            at = end
        }
    }

    private func length(_ at: Int) -> Int {
        Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: at + 1, as: UInt32.self)))
    }
}
