/// The name of an image, read exactly as Docker reads it.
///
/// The grammar and the normalization are distribution/reference's (`reference.go`, `normalize.go`, `regexp.go`):
///
///     reference       = name [ ":" tag ] [ "@" digest ]
///     name            = [ domain "/" ] path
///     domain          = ( domain-name / "[" IPv6 "]" ) [ ":" digits ]
///     path            = path-component *( "/" path-component )
///     path-component  = alphanumeric *( ( "." / "_" / "__" / 1*"-" ) alphanumeric )
///     tag             = ( letter / digit / "_" ) 0*127( letter / digit / "_" / "." / "-" )
///     digest          = algorithm ":" 32*hexadecimal
///
/// The first component is a host if it holds `.` or `:`, is `localhost`, or has an upper-case letter; otherwise the
/// image is on Docker Hub. Two things are refused that Docker would take: a first component that Docker takes for a
/// host but its grammar does not (`ev_il.test/x` has an empty domain there), and a domain that is not a
/// ``RegistryAddress`` (`127.1:5000/x`, `ghcr.io:0443/x`).
public struct ImageReference: Hashable, Sendable, CustomStringConvertible {
    /// Where the image lives.
    public let registry: RegistryAddress
    /// The path on the registry, for example `library/alpine`.
    public let repository: String
    /// The tag, if one was written.
    public let tag: String?
    /// The digest, if one was written, for example `sha256:` and 64 hexadecimal digits.
    public let digest: String?

    /// Reads an image name as a person or the Engine API writes it.
    ///
    /// - Parameter text: for example `alpine`, `ghcr.io/acme/api:1.2` or `localhost:5000/x@sha256:...`.
    /// - Throws: ``InvalidImageReference`` if Docker would refuse it, or would contact a registry whose address is
    ///   not a ``RegistryAddress``.
    public init(_ text: some StringProtocol) throws(InvalidImageReference) {
        let bytes = Array(text.utf8)
        guard !bytes.isEmpty else { throw .badFormat }
        // Far beyond any name that Docker takes (255 bytes of path, 253 of host, 128 of tag, a digest).
        guard bytes.count <= 4096 else { throw .tooLong }
        if bytes.count == 64, bytes.allSatisfy({ ASCII.hexValue($0) != nil && !ASCII.isUppercase($0) }) {
            throw .imageID
        }

        let (domain, remainder) = Self.splitDomain(bytes[...])
        let afterDigest = try Self.cutDigest(remainder)
        let afterTag = try Self.cutTag(afterDigest.rest)
        registry = try Self.registry(of: domain)
        var path = Array(afterTag.rest)
        // Docker does so for the first two spellings of Docker Hub only; under the others a bare name exists nowhere.
        if registry == .dockerHub, !path.contains(ASCII.slash) {
            path = Array("library/".utf8) + path
        }
        guard path.count <= 255 else { throw .tooLong }
        try Self.checkPath(path[...])
        repository = String(decoding: path, as: UTF8.self)
        tag = afterTag.tag
        digest = afterDigest.digest
    }

    /// The full name: registry, repository, and tag and digest where they were written.
    ///
    /// A registry of one label is written in upper case, because in lower case it would be read as a namespace on
    /// Docker Hub; one without a letter is written with its port.
    public var description: String {
        let host = registry.description
        let isClear = host == "localhost" || host.utf8.contains { $0 == ASCII.dot || $0 == ASCII.colon }
        let hasLetter = host.utf8.contains(where: ASCII.isLetter)
        var text = "\(isClear ? host : hasLetter ? host.uppercased() : "\(host):443")/\(repository)"
        if let tag { text += ":\(tag)" }
        if let digest { text += "@\(digest)" }
        return text
    }

    private static func registry(of domain: ArraySlice<UInt8>?) throws(InvalidImageReference) -> RegistryAddress {
        guard let domain else { return .dockerHub }
        // The grammar has no dotted quad inside brackets.
        guard domain.first != ASCII.leftBracket || !domain.contains(ASCII.dot) else { throw .badFormat }
        do throws(InvalidRegistryAddress) {
            return try RegistryAddress.parse(domain)
        } catch {
            throw .badRegistry(error)
        }
    }

    private static func splitDomain(_ bytes: ArraySlice<UInt8>) -> (
        domain: ArraySlice<UInt8>?, remainder: ArraySlice<UInt8>
    ) {
        guard let slash = bytes.firstIndex(of: ASCII.slash) else { return (nil, bytes) }
        let first = bytes[..<slash]
        let isDomain =
            first.elementsEqual("localhost".utf8)
            || first.contains { $0 == ASCII.dot || $0 == ASCII.colon || ASCII.isUppercase($0) }
        return isDomain ? (first, bytes[(slash + 1)...]) : (nil, bytes)
    }

    private static func cutDigest(
        _ text: ArraySlice<UInt8>
    ) throws(InvalidImageReference) -> (rest: ArraySlice<UInt8>, digest: String?) {
        guard let at = text.firstIndex(of: ASCII.at) else { return (text, nil) }
        let digest = text[(at + 1)...]
        guard isDigest(digest) else { throw .badFormat }
        return (text[..<at], String(decoding: digest, as: UTF8.self))
    }

    /// Whether Docker takes this text as a digest (go-digest's registered algorithms with their exact lengths).
    static func isDigest(_ text: ArraySlice<UInt8>) -> Bool {
        guard let colon = text.firstIndex(of: ASCII.colon) else { return false }
        let hexadecimal = text[(colon + 1)...]
        let length: Int
        switch String(decoding: text[..<colon], as: UTF8.self) {
        case "sha256": length = 64
        case "sha384": length = 96
        case "sha512": length = 128
        default: return false
        }
        return hexadecimal.count == length
            && hexadecimal.allSatisfy { ASCII.hexValue($0) != nil && !ASCII.isUppercase($0) }
    }

    private static func cutTag(
        _ text: ArraySlice<UInt8>
    ) throws(InvalidImageReference) -> (rest: ArraySlice<UInt8>, tag: String?) {
        // No colon is part of a path, so the first one begins the tag.
        guard let colon = text.firstIndex(of: ASCII.colon) else { return (text, nil) }
        let tag = text[(colon + 1)...]
        guard isTag(tag) else { throw .badFormat }
        return (text[..<colon], String(decoding: tag, as: UTF8.self))
    }

    static func isTag(_ text: ArraySlice<UInt8>) -> Bool {
        guard let first = text.first, text.count <= 128 else { return false }
        guard ASCII.isAlphanumeric(first) || first == ASCII.underscore else { return false }
        return text.allSatisfy {
            ASCII.isAlphanumeric($0) || $0 == ASCII.underscore || $0 == ASCII.dot || $0 == ASCII.hyphen
        }
    }

    private static func checkPath(_ path: ArraySlice<UInt8>) throws(InvalidImageReference) {
        guard !path.contains(where: ASCII.isUppercase) else { throw .uppercase }
        for component in path.split(separator: ASCII.slash, omittingEmptySubsequences: false) {
            guard isPathComponent(component) else { throw .badFormat }
        }
    }

    static func isPathComponent(_ component: ArraySlice<UInt8>) -> Bool {
        var separator: [UInt8] = []
        var hasAlphanumeric = false
        for byte in component {
            if ASCII.isLowercase(byte) || ASCII.isDigit(byte) {
                guard isSeparator(separator) else { return false }
                separator.removeAll(keepingCapacity: true)
                hasAlphanumeric = true
            } else {
                guard hasAlphanumeric else { return false }
                guard byte == ASCII.dot || byte == ASCII.underscore || byte == ASCII.hyphen else { return false }
                separator.append(byte)
            }
        }
        return hasAlphanumeric && separator.isEmpty
    }

    private static func isSeparator(_ bytes: [UInt8]) -> Bool {
        bytes.count <= 1 || bytes == [ASCII.underscore, ASCII.underscore] || bytes.allSatisfy { $0 == ASCII.hyphen }
    }
}

/// Why a text is not the name of an image.
public enum InvalidImageReference: Error, Equatable, Sendable, CustomStringConvertible {
    /// It does not follow the grammar.
    case badFormat
    /// The repository holds an upper-case letter.
    case uppercase
    /// The repository is longer than 255 bytes, or the whole text is longer than any name.
    case tooLong
    /// 64 hexadecimal digits: the identifier of a local image.
    case imageID
    /// The part before the first slash is a host to Docker, but not a registry address.
    case badRegistry(InvalidRegistryAddress)

    /// What is wrong, in words.
    public var description: String {
        switch self {
        case .badFormat: "the image name is not in the form that docker takes"
        case .uppercase: "the repository name must be in lower case"
        case .tooLong: "the image name is too long"
        case .imageID: "64 hexadecimal digits name a local image, not one on a registry"
        case .badRegistry(let error): "\(error)"
        }
    }
}
