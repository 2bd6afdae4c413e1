/// The name of one decision: in the sentence that a person reads and in the decision log.
public struct DecisionID: Hashable, Sendable, CustomStringConvertible {
    /// Six lower-case hexadecimal digits.
    public let description: String

    /// A new name.
    public init() {
        var generator = SystemRandomNumberGenerator()
        self.init(using: &generator)
    }

    /// Reads a name.
    ///
    /// - Parameter text: six lower-case hexadecimal digits; the initializer fails for anything else.
    public init?(_ text: String) {
        let isDigit = { (byte: UInt8) in ASCII.isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte) }
        guard text.utf8.count == 6, text.utf8.allSatisfy(isDigit) else { return nil }
        description = text
    }

    /// A new name from a given source of chance.
    ///
    /// - Parameter generator: the source.
    public init(using generator: inout some RandomNumberGenerator) {
        let digits = String(UInt32.random(in: 0..<(1 << 24), using: &generator), radix: 16)
        description = String(repeating: "0", count: 6 - digits.count) + digits
    }
}
