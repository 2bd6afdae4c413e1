import RegistryAccess

/// Base64 for addresses, without padding (RFC 7515, section 2).
enum Base64URL {
    /// Writes bytes.
    ///
    /// - Parameter bytes: what to write.
    /// - Returns: the text.
    static func encode(_ bytes: [UInt8]) -> String {
        StrictBase64.encode(bytes).replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    /// Reads a text that has one reading.
    ///
    /// - Parameter text: what to read.
    /// - Returns: the bytes; `nil` if it is empty, or none.
    static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        let plus = UInt8(ascii: "+"), slash = UInt8(ascii: "/"), padding = UInt8(ascii: "=")
        guard !text.isEmpty, !text.contains(where: { $0 == plus || $0 == slash || $0 == padding }) else { return nil }
        var bytes = text.map { $0 == UInt8(ascii: "-") ? plus : $0 == UInt8(ascii: "_") ? slash : $0 }
        bytes += [UInt8](repeating: padding, count: (4 - bytes.count % 4) % 4)
        return StrictBase64.decode(bytes)
    }
}
