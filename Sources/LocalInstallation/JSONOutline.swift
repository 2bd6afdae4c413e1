import RegistryAccess

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
        guard (try? StrictJSON.parse(bytes, limits: .init(bytes: AccessPolicy.longestDocument))) != nil,
            case .object(let members) = JSONPlace.locate(in: bytes).content
        else { return nil }
        self.members = members.map { member in
            var elements: [Range<Int>]?
            if case .array(let places) = member.value.content { elements = places.map(\.range) }
            return Member(
                name: member.name,
                range: member.nameRange.lowerBound..<member.value.range.upperBound,
                elements: elements
            )
        }
    }
}
