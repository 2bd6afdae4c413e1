/// What a tunnel begins with: the first message of a TLS client, read as far as the host that it names (RFC 8446,
/// section 4.1.2; RFC 6066, section 3).
///
/// Every length must fit its surroundings exactly. Where the outer message of an Encrypted Client Hello names a host, that
/// is the one that counts.
enum ClientHello: Equatable {
    /// A ClientHello; the host that it names is in lower case, `nil` if it names none.
    case hello(serverName: String?)
    /// It is not all there: worth another look when there are at least so many bytes.
    case incomplete(needed: Int)
    /// The bytes are not TLS.
    case notTLS
    /// They begin as TLS, but are no ClientHello that can be read in one way only, or a longer one than
    /// ``longest``.
    case malformed

    /// The longest beginning that is looked at, in bytes; those with post-quantum keys have about 1,800.
    static let longest = 16 << 10
    /// How many TLS records it may be cut into; every client sends one or two.
    static let mostRecords = 16

    /// Reads the beginning of a stream.
    ///
    /// - Parameter bytes: all that has come so far.
    init(_ bytes: [UInt8]) {
        self = Self.read(bytes)
        if case .incomplete(let needed) = self, needed > Self.longest { self = .malformed }
    }

    private static func read(_ bytes: [UInt8]) -> ClientHello {
        var message: [UInt8] = []
        var position = 0
        for _ in 0..<mostRecords {
            let record = bytes[position...]
            // Handshake, and a version of which the first number is that of every TLS.
            for (index, expected) in [UInt8(22), 3].enumerated() where record.count > index {
                guard record[position + index] == expected else { return position == 0 ? .notTLS : .malformed }
            }
            guard record.count >= 5 else { return .incomplete(needed: position + 5) }
            let length = Int(record[position + 3]) << 8 | Int(record[position + 4])
            guard (1...(16 << 10)).contains(length) else { return position == 0 ? .notTLS : .malformed }
            let end = position + 5 + length
            guard bytes.count >= end else { return .incomplete(needed: end) }
            message += bytes[(position + 5)..<end]
            position = end
            guard message[0] == 1 else { return .malformed }
            guard message.count >= 4 else { continue }
            let messageLength = Int(message[1]) << 16 | Int(message[2]) << 8 | Int(message[3])
            guard messageLength <= longest else { return .malformed }
            guard message.count >= 4 + messageLength else { continue }
            // Nothing may follow before the server has answered but what is not a handshake message.
            guard message.count == 4 + messageLength else { return .malformed }
            return serverName(in: message[4...]).map { .hello(serverName: $0) } ?? .malformed
        }
        return .malformed
    }

    /// The host, `.some(nil)` if there is none, `nil` if the message is malformed.
    private static func serverName(in message: ArraySlice<UInt8>) -> String?? {
        var fields = Fields(rest: message)
        guard fields.take(2 + 32) != nil,
            let session = fields.take(vector: 1), session.count <= 32,
            let suites = fields.take(vector: 2), suites.count >= 2, suites.count.isMultiple(of: 2),
            let compressions = fields.take(vector: 1), !compressions.isEmpty
        else { return nil }
        // SSL 3 and the first TLS know no extensions.
        if fields.rest.isEmpty { return .some(nil) }
        guard let extensions = fields.take(vector: 2), fields.rest.isEmpty else { return nil }
        var name: String?
        var list = Fields(rest: extensions)
        while !list.rest.isEmpty {
            guard let type = list.take(2), let content = list.take(vector: 2) else { return nil }
            guard type.elementsEqual([0, 0]) else { continue }
            guard name == nil, let host = host(in: content) else { return nil }
            name = host
        }
        return .some(name)
    }

    /// The one host of a `server_name` extension.
    private static func host(in content: ArraySlice<UInt8>) -> String? {
        var fields = Fields(rest: content)
        guard let list = fields.take(vector: 2), fields.rest.isEmpty else { return nil }
        var names = Fields(rest: list)
        guard let type = names.take(1), type.first == 0, let host = names.take(vector: 2), names.rest.isEmpty,
            (1...255).contains(host.count), host.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        return String(decoding: host.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }

    /// Bytes that are taken from the front.
    private struct Fields {
        var rest: ArraySlice<UInt8>

        mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
            guard rest.count >= count else { return nil }
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count)
        }

        /// Bytes behind their number, which is written in so many bytes.
        mutating func take(vector size: Int) -> ArraySlice<UInt8>? {
            guard let count = take(size) else { return nil }
            return take(count.reduce(0) { $0 << 8 | Int($1) })
        }
    }
}
