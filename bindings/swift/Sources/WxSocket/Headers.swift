public import WxSocketBindings

extension [Header] {
    /// Returns the value of the first header of this name; nil: there is none. Upper and lower case of ASCII letters
    /// count as the same.
    public func value(_ name: String) -> String? { first { $0.isNamed(name) }?.value }

    /// Returns the values of all headers of this name, in order. Upper and lower case of ASCII letters count as the
    /// same.
    public func values(_ name: String) -> [String] { filter { $0.isNamed(name) }.map(\.value) }
}

extension Header {
    fileprivate func isNamed(_ other: String) -> Bool {
        name.utf8.elementsEqual(other.utf8) { lowercase($0) == lowercase($1) }
    }
}

private func lowercase(_ byte: UInt8) -> UInt8 { (0x41...0x5a).contains(byte) ? byte | 0x20 : byte }
