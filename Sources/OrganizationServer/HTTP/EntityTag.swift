import HTTPTypes
import Hummingbird

/// The names of states of a resource (RFC 9110, section 8.8.3).
enum EntityTag {
    /// Whether a list of tags names one, or any: the weak comparison that `If-None-Match` asks for.
    ///
    /// - Parameters:
    ///   - field: the value of the field; `nil` if it was not there.
    ///   - etag: the tag with its quotes.
    /// - Returns: whether the asker has this state.
    static func matches(_ field: String?, _ etag: String) -> Bool {
        guard let field else { return false }
        // What machines send.
        if field.utf8.elementsEqual(etag.utf8) { return true }
        return field.split(separator: ",").contains { part in
            var tag = part.drop { $0 == " " || $0 == "\t" }
            while let last = tag.last, last == " " || last == "\t" { tag = tag.dropLast() }
            if tag.utf8.elementsEqual("*".utf8) { return true }
            if tag.utf8.starts(with: "W/".utf8) { tag = tag.dropFirst(2) }
            return tag.utf8.elementsEqual(etag.utf8)
        }
    }

    /// The number that `If-Match` names, where the states of a resource are numbers.
    ///
    /// - Parameter request: the request.
    /// - Returns: the number; `nil` if the field is not there.
    /// - Throws: ``Problem`` if it is anything else than one number in quotes.
    static func number(ifMatchOf request: Request) throws(Problem) -> Int? {
        let fields = request.headers[values: .ifMatch]
        guard let field = fields.first else { return nil }
        guard fields.count == 1, field.utf8.count >= 3, field.hasPrefix("\""), field.hasSuffix("\""),
            let number = WholeNumber.read(field.dropFirst().dropLast())
        else {
            throw Problem(
                .badRequest,
                .badRequest,
                "\"If-Match\" must be one version in quotes, as \"ETag\" has it"
            )
        }
        return number
    }
}

/// Numbers in paths, queries and fields.
enum WholeNumber {
    /// Reads a number: digits without a leading zero, below 2^53.
    ///
    /// - Parameter text: what to read.
    /// - Returns: the number; `nil` if it is anything else.
    static func read(_ text: some StringProtocol) -> Int? {
        let digits = text.utf8
        guard (1...16).contains(digits.count), digits.allSatisfy({ (48...57).contains($0) }),
            digits.count == 1 || digits.first != 48, let number = Int(text), number <= 1 << 53
        else { return nil }
        return number
    }
}
