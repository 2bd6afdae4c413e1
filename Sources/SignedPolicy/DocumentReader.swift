import RegistryAccess

/// Reads the values that documents consist of; what is out of bounds is a fault with its place.
enum DocumentReader {
    /// Reads a whole document; only the optional keys may be missing.
    static func read(
        _ payload: [UInt8],
        _ known: [String],
        optional: [String] = [],
        _ member: (_ key: String, inout JSONScanner) throws(InvalidJSON) -> Void
    ) throws(Rejection) {
        do throws(InvalidJSON) {
            var scanner = JSONScanner(payload, limits: StrictJSON.Limits(bytes: DocumentKind.policy.longest, depth: 10))
            var found: Set<String> = []
            try scanner.object(of: known + optional) { (key, scanner) throws(InvalidJSON) in
                found.insert(key)
                try member(key, &scanner)
            }
            try scanner.end()
            // Every key of a document says something that somebody goes by.
            if let missing = known.first(where: { !found.contains($0) }) {
                throw scanner.fault("the key \"\(missing)\" is missing", at: 0)
            }
        } catch {
            throw .malformed("the document is not in order: \(error)")
        }
    }

    /// A text that is read as something.
    static func value<Value>(
        _ scanner: inout JSONScanner,
        _ what: String,
        _ read: (String) -> Value?
    ) throws(InvalidJSON) -> Value {
        _ = scanner.peek()
        let start = scanner.position
        guard let value = read(try scanner.string()) else { throw scanner.fault("this is no \(what)", at: start) }
        return value
    }

    static func instant(_ scanner: inout JSONScanner) throws(InvalidJSON) -> Instant {
        try value(&scanner, "instant") { Instant($0) }
    }

    /// A name of an organization, a team, a person, a device, a session.
    static func name(_ scanner: inout JSONScanner) throws(InvalidJSON) -> String {
        try value(&scanner, "name") { text in
            let isName = (1...128).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
            return isName ? text : nil
        }
    }

    /// A whole number.
    static func number(_ scanner: inout JSONScanner, in range: ClosedRange<Int>) throws(InvalidJSON) -> Int {
        _ = scanner.peek()
        let start = scanner.position
        let text = try scanner.number()
        let isCanonical = text.utf8.allSatisfy { (48...57).contains($0) }
        guard isCanonical, let number = Int(text), range.contains(number) else {
            throw scanner.fault("this is no whole number from \(range.lowerBound) to \(range.upperBound)", at: start)
        }
        return number
    }

    /// The largest number that every reader of JSON holds exactly.
    static let numbers = 1...(1 << 53)

    static func texts<Value>(
        _ scanner: inout JSONScanner,
        _ what: String,
        _ read: (String) -> Value?
    ) throws(InvalidJSON) -> [Value] {
        var values: [Value] = []
        try scanner.array { (scanner) throws(InvalidJSON) in values.append(try value(&scanner, what, read)) }
        return values
    }
}
