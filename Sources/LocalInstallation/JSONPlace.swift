import RegistryAccess

/// A value of a JSON document and where it stands in the text.
struct JSONPlace: Sendable {
    /// The bytes of the value, without the white space around it.
    let range: Range<Int>
    let content: Content

    indirect enum Content: Sendable {
        case leaf
        case array([JSONPlace])
        case object([Member])
    }

    struct Member: Sendable {
        let name: String
        /// The bytes of the name with its quotation marks.
        let nameRange: Range<Int>
        let value: JSONPlace
    }

    func memberIndex(named name: String) -> Int? {
        guard case .object(let members) = content else { return nil }
        let exact = members.firstIndex { $0.name.utf8.elementsEqual(name.utf8) }
        // No two names of an object are the same to Go, so the folded one is the only one.
        return exact
            ?? members.firstIndex { member in
                JSONValue.object([JSONMember(member.name, .null)]).value(foldedName: name) != nil
            }
    }

    func member(named name: String) -> Member? {
        guard case .object(let members) = content, let index = memberIndex(named: name) else { return nil }
        return members[index]
    }

    /// Finds the values of a document that ``StrictJSON`` has accepted.
    static func locate(in bytes: [UInt8]) -> JSONPlace {
        var walker = Walker(bytes: bytes)
        return walker.value()
    }

    /// Walks through a valid document; on any other the ranges mean nothing, but it stays inside and ends.
    private struct Walker {
        let bytes: [UInt8]
        var position = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        mutating func next() -> UInt8? {
            while position < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) { position += 1 }
            return position < bytes.count ? bytes[position] : nil
        }

        mutating func value() -> JSONPlace {
            switch next() {
            case UInt8(ascii: "{"): object()
            case UInt8(ascii: "["): array()
            case UInt8(ascii: "\""): JSONPlace(range: string(), content: .leaf)
            default: JSONPlace(range: literal(), content: .leaf)
            }
        }

        mutating func object() -> JSONPlace {
            let start = position
            position += 1
            var members: [Member] = []
            while let byte = next(), byte != UInt8(ascii: "}") {
                if byte == UInt8(ascii: ",") { position += 1 }
                guard next() == UInt8(ascii: "\"") else { break }
                let nameRange = string()
                let name = (try? StrictJSON.parse(Array(bytes[nameRange])))?.text ?? ""
                _ = next()
                position = min(position + 1, bytes.count)
                members.append(Member(name: name, nameRange: nameRange, value: value()))
            }
            position = min(position + 1, bytes.count)
            return JSONPlace(range: start..<position, content: .object(members))
        }

        mutating func array() -> JSONPlace {
            let start = position
            position += 1
            var elements: [JSONPlace] = []
            while let byte = next(), byte != UInt8(ascii: "]") {
                if byte == UInt8(ascii: ",") { position += 1 }
                elements.append(value())
            }
            position = min(position + 1, bytes.count)
            return JSONPlace(range: start..<position, content: .array(elements))
        }

        mutating func string() -> Range<Int> {
            let start = position
            position += 1
            while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
                position += bytes[position] == UInt8(ascii: "\\") ? 2 : 1
            }
            position = min(position + 1, bytes.count)
            return start..<position
        }

        mutating func literal() -> Range<Int> {
            let start = position
            let ends = Array(" \t\r\n,]}".utf8)
            while position < bytes.count, !ends.contains(bytes[position]) { position += 1 }
            // Never stands still, whatever the document is.
            if position == start { position = min(position + 1, bytes.count) }
            return start..<position
        }
    }
}
