/// Where the members of a JSON object stand in its text, and the elements of those that are lists.
public struct JSONOutline: Sendable {
    /// One member.
    public struct Member: Sendable {
        /// Its name.
        public let name: String
        /// The bytes of name and value.
        public let range: Range<Int>
        /// The bytes of each element, if the value is a list.
        public let elements: [Range<Int>]?
    }

    /// The members in their order.
    public let members: [Member]

    /// Reads a document; `nil` if it is not a JSON object that has only one reading.
    ///
    /// - Parameter bytes: the document.
    public init?(_ bytes: [UInt8]) {
        var members: [Member] = []
        do throws(InvalidJSON) {
            var scanner = JSONScanner(bytes, limits: StrictJSON.Limits(bytes: AccessPolicy.longestDocument))
            try scanner.checkSize()
            try scanner.object { (name, nameOffset, scanner) throws(InvalidJSON) in
                var elements: [Range<Int>]?
                if scanner.peek() == ASCII.leftBracket {
                    var found: [Range<Int>] = []
                    try scanner.array { (scanner) throws(InvalidJSON) in
                        _ = scanner.peek()
                        let start = scanner.position
                        _ = try scanner.value()
                        found.append(start..<scanner.position)
                    }
                    elements = found
                } else {
                    _ = try scanner.value()
                }
                members.append(Member(name: name, range: nameOffset..<scanner.position, elements: elements))
            }
            try scanner.end()
        } catch {
            return nil
        }
        self.members = members
    }
}
