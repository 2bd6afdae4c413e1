import RegistryAccess

/// What organizations, people and teams may be called.
enum Names {
    /// Whether a text is such a name.
    ///
    /// - Parameter text: 3 to 40 small letters, digits and hyphens, none of these at its ends.
    /// - Returns: whether it is.
    static func isName(_ text: some StringProtocol) -> Bool {
        let bytes = Array(text.utf8)
        func isLetterOrDigit(_ byte: UInt8) -> Bool { (97...122).contains(byte) || (48...57).contains(byte) }
        return (3...40).contains(bytes.count) && bytes.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: "-") }
            && bytes.first.map(isLetterOrDigit) ?? false && bytes.last.map(isLetterOrDigit) ?? false
    }

    /// Whether a person may be called so.
    ///
    /// - Parameter text: the text.
    /// - Returns: whether it is a name, and not the one under which the server itself acts.
    static func isPersonName(_ text: some StringProtocol) -> Bool { isName(text) && text != system }

    /// The name under which the server itself acts; nobody is called so.
    static let system = "system"

    /// Whether a text may be somebody's e-mail address; whether it is theirs, nobody can tell from it.
    ///
    /// - Parameter text: the text.
    /// - Returns: whether it is a label with an at sign.
    static func isEmail(_ text: String) -> Bool { isLabel(text, longest: 254) && text.contains("@") }

    /// Whether a text may be whom developers ask: it is part of every refusal.
    ///
    /// - Parameter text: the text.
    /// - Returns: whether it is short enough, and printable ASCII.
    static func isContact(_ text: String) -> Bool {
        (1...100).contains(text.utf8.count) && text.utf8.allSatisfy { (0x20...0x7E).contains($0) }
    }

    /// What a contact has to be, for refusals.
    static let contactRule = "at most 100 printable ASCII characters: it is part of every refusal"

    /// What a name has to be, for refusals.
    static let rule = "3 to 40 small letters, digits and hyphens, with a letter or digit at both ends"

    /// What the name of a person has to be, for refusals.
    static let personRule = "\(rule), and not \"\(system)\", which is the server's own"

    /// Whether a text may name a device or a token, or be somebody's address: it is shown to people.
    ///
    /// - Parameters:
    ///   - text: the text.
    ///   - longest: the most bytes.
    /// - Returns: whether it is not empty, not too long, and has no control characters.
    static func isLabel(_ text: String, longest: Int) -> Bool {
        (1...longest).contains(text.utf8.count) && hidden(in: text) == nil
    }

    /// The first character of a text that cannot be shown to people.
    ///
    /// - Parameter text: the text.
    /// - Returns: one that cannot be seen, or ends the line, or turns the direction of what is shown; `nil` if there is none.
    static func hidden(in text: String) -> Unicode.Scalar? {
        text.unicodeScalars.first(where: \.isHidden)
    }

    /// A name as it is meant by who types it into a page: without white space around it, in small letters.
    ///
    /// - Parameter text: what was typed.
    /// - Returns: the name, or an e-mail address in the letters that were typed; `nil` if there is nothing.
    static func typed(_ text: String?) -> String? {
        let name = String((text ?? "").drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
        guard !name.isEmpty, !name.contains("@") else { return name.isEmpty ? nil : name }
        // Other letters than these are in no name, and none of them becomes one.
        return String(name.map { $0.isASCII ? Character($0.lowercased()) : $0 })
    }
}

/// Names that are made, not chosen.
enum RandomName {
    private static let digits = Array("abcdefghijklmnopqrstuvwxyz0123456789")

    /// A name of 26 small letters and digits, of which there are more than 2^128.
    static func make() -> String {
        var generator = SystemRandomNumberGenerator()
        return String((0..<26).map { _ in digits.randomElement(using: &generator) ?? "0" })
    }
}
