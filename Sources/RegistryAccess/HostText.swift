/// A name of the domain name system, as strictly as the policy wants it.
enum DomainName {
    /// The name in lower case, if it is made of labels of letters, digits and inner hyphens.
    static func lowercased(_ bytes: ArraySlice<UInt8>) throws(InvalidRegistryAddress) -> [UInt8] {
        guard !bytes.isEmpty else { throw .empty }
        guard bytes.count <= RegistryAddress.longestHost else { throw .tooLong }
        var name: [UInt8] = []
        name.reserveCapacity(bytes.count)
        var labelLength = 0
        var previous = ASCII.dot
        for byte in bytes {
            if byte == ASCII.dot {
                guard previous != ASCII.dot, previous != ASCII.hyphen else { throw .badLabel }
                labelLength = 0
            } else {
                guard ASCII.isAlphanumeric(byte) || byte == ASCII.hyphen else { throw .badCharacter }
                guard byte != ASCII.hyphen || labelLength > 0 else { throw .badLabel }
                labelLength += 1
                guard labelLength <= 63 else { throw .tooLong }
            }
            name.append(ASCII.lowercased(byte))
            previous = byte
        }
        guard previous != ASCII.dot, previous != ASCII.hyphen else { throw .badLabel }
        return name
    }
}

/// IPv4 addresses as text.
enum IPv4Text {
    enum Class: Equatable {
        case name
        case address(UInt32)
        /// Some resolver reads it as an address: `127.1`, `0x7f000001`, `010.0.0.1`, `2130706433`.
        case ambiguous
    }

    /// Tells names from addresses by the last label, as the WHATWG URL Standard does ("ends in a number").
    static func classify(_ name: [UInt8]) -> Class {
        let last = name[(name.lastIndex(of: ASCII.dot).map { $0 + 1 } ?? 0)...]
        let isHexadecimal =
            last.count >= 2 && last.first == ASCII.zero && last[last.startIndex + 1] == UInt8(ascii: "x")
            && last.dropFirst(2).allSatisfy { ASCII.hexValue($0) != nil }
        guard last.allSatisfy(ASCII.isDigit) || isHexadecimal else { return .name }
        return parse(name[...]).map(Class.address) ?? .ambiguous
    }

    /// Reads four decimal numbers from 0 to 255 without leading zeros, and nothing else.
    static func parse(_ text: ArraySlice<UInt8>) -> UInt32? {
        let parts = text.split(separator: ASCII.dot, maxSplits: 4, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var address: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy(ASCII.isDigit) else { return nil }
            guard part.count == 1 || part.first != ASCII.zero else { return nil }
            let value = part.reduce(UInt32(0)) { $0 * 10 + UInt32($1 - ASCII.zero) }
            guard value <= 255 else { return nil }
            address = address << 8 | value
        }
        return address
    }

    static func format(_ address: UInt32) -> String {
        "\(address >> 24).\(address >> 16 & 0xFF).\(address >> 8 & 0xFF).\(address & 0xFF)"
    }
}

/// IPv6 addresses as text, without brackets and zone.
enum IPv6Text {
    /// Reads RFC 4291 text, a trailing dotted quad included; a zone or anything else is refused.
    static func parse(_ text: ArraySlice<UInt8>) -> (high: UInt64, low: UInt64)? {
        guard text.count >= 2, text.count <= 45 else { return nil }
        var groups: [UInt16] = []
        var compressionIndex: Int?
        var position = text.startIndex

        if text.first == ASCII.colon {
            guard text.starts(with: [ASCII.colon, ASCII.colon]) else { return nil }
            compressionIndex = 0
            position += 2
        }
        while position < text.endIndex {
            let end = text[position...].firstIndex(of: ASCII.colon) ?? text.endIndex
            let part = text[position..<end]
            if end == text.endIndex, part.contains(ASCII.dot) {
                guard let quad = IPv4Text.parse(part) else { return nil }
                groups += [UInt16(quad >> 16), UInt16(quad & 0xFFFF)]
                position = end
                break
            }
            guard (1...4).contains(part.count) else { return nil }
            var value: UInt16 = 0
            for byte in part {
                guard let digit = ASCII.hexValue(byte) else { return nil }
                value = value << 4 | UInt16(digit)
            }
            groups.append(value)
            guard groups.count <= 8 else { return nil }
            position = end
            guard position < text.endIndex else { break }
            position += 1
            if position == text.endIndex { return nil }
            if text[position] == ASCII.colon {
                guard compressionIndex == nil else { return nil }
                compressionIndex = groups.count
                position += 1
            }
        }

        if let compressionIndex {
            guard groups.count <= 7 else { return nil }
            groups.insert(contentsOf: Array(repeating: 0, count: 8 - groups.count), at: compressionIndex)
        }
        guard groups.count == 8 else { return nil }
        return (groups[..<4].reduce(0) { $0 << 16 | UInt64($1) }, groups[4...].reduce(0) { $0 << 16 | UInt64($1) })
    }

    /// Writes RFC 5952 text: lower case, no leading zeros, the first longest run of two or more zero groups as `::`.
    static func format(high: UInt64, low: UInt64) -> String {
        let groups = (0..<8).map { index in
            UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> (16 * UInt64(3 - index % 4)))
        }
        var longest = 0..<0
        var start = 0
        while start < 8 {
            let end = groups[start...].firstIndex { $0 != 0 } ?? 8
            if end - start > longest.count { longest = start..<end }
            start = max(end, start + 1)
        }
        let hexadecimal = groups.map { String($0, radix: 16) }
        guard longest.count >= 2 else { return hexadecimal.joined(separator: ":") }
        let head = hexadecimal[..<longest.lowerBound].joined(separator: ":")
        let tail = hexadecimal[longest.upperBound...].joined(separator: ":")
        return "\(head)::\(tail)"
    }
}
