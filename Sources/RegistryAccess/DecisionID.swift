/// The name of one decision: in the sentence that a person reads and in the decision log.
public struct DecisionID: Hashable, Sendable, CustomStringConvertible {
    /// Six lower-case hexadecimal digits.
    public let description: String

    /// A new name.
    public init() {
        var generator = SystemRandomNumberGenerator()
        self.init(using: &generator)
    }

    /// A new name from a given source of chance.
    ///
    /// - Parameter generator: the source.
    public init(using generator: inout some RandomNumberGenerator) {
        let digits = String(UInt32.random(in: 0..<(1 << 24), using: &generator), radix: 16)
        description = String(repeating: "0", count: 6 - digits.count) + digits
    }
}
