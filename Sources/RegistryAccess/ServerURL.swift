/// Where a server of an organization is: `https://ram.acme.test:8443`, or a folder there.
///
/// Like every name of a host it is read in one way or refused. Plain HTTP goes to the machine itself only.
public struct ServerURL: Hashable, Sendable, CustomStringConvertible {
    /// Whether it is `https`.
    public let isEncrypted: Bool
    /// Host and port.
    public let target: EgressTarget
    /// Nothing, or a slash and what follows it, without a slash at the end.
    public let path: String

    /// Reads one.
    ///
    /// - Parameter text: `https://` or `http://`, a host, perhaps a port and perhaps a path of letters, digits, `.`, `_`,
    ///   `~` and `-`; no user, no query, no fragment.
    /// - Throws: ``InvalidServerURL``.
    public init(_ text: String) throws(InvalidServerURL) {
        let bytes = Array(text.utf8)
        isEncrypted = bytes.starts(with: "https://".utf8)
        guard isEncrypted || bytes.starts(with: "http://".utf8) else {
            throw InvalidServerURL("it begins neither with https:// nor with http://")
        }
        let rest = bytes[(isEncrypted ? 8 : 7)...]
        let slash = rest.firstIndex(of: ASCII.slash) ?? rest.endIndex
        do throws(InvalidRegistryAddress) {
            let authority = String(decoding: rest[..<slash], as: UTF8.self)
            target = try EgressTarget(authority: authority, defaultPort: isEncrypted ? 443 : 80)
        } catch {
            throw InvalidServerURL("its host: \(error)")
        }
        guard isEncrypted || target.address.isLoopback else {
            throw InvalidServerURL("plain http goes to this machine itself only; write https://")
        }
        var path = rest[slash...]
        while path.last == ASCII.slash { path = path.dropLast() }
        for segment in path.split(separator: ASCII.slash, omittingEmptySubsequences: false).dropFirst() {
            guard Self.isSegment(segment) else {
                throw InvalidServerURL("its path may have letters, digits, \".\", \"_\", \"~\" and \"-\" only")
            }
        }
        self.path = String(decoding: path, as: UTF8.self)
    }

    private static func isSegment(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard !bytes.isEmpty, !bytes.elementsEqual(".".utf8), !bytes.elementsEqual("..".utf8) else { return false }
        return bytes.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: ".-_~".utf8.contains(byte)
            }
        }
    }

    /// The address in its one spelling.
    public var description: String {
        let isDefault = target.port == (isEncrypted ? 443 : 80)
        let authority = target.authority
        let host = isDefault ? String(authority.dropLast("\(target.port)".utf8.count + 1)) : authority
        return "\(isEncrypted ? "https" : "http")://\(host)\(path)"
    }
}

/// Why a text is not the address of a server.
public struct InvalidServerURL: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong, lower-case.
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}
