/// The name of an organization or of one of its members.
public enum OrganizationName {
    /// Whether a text is such a name: 3 to 40 lower-case letters, digits and hyphens, no hyphen at the beginning or end.
    ///
    /// - Parameter text: the text.
    /// - Returns: whether it is one.
    public static func isValid(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard (3...40).contains(bytes.count), bytes.first != UInt8(ascii: "-"), bytes.last != UInt8(ascii: "-") else {
            return false
        }
        return bytes.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || $0 == UInt8(ascii: "-") }
    }
}
