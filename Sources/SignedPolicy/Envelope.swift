import RegistryAccess

/// A kind of document, and the role of the keys that may sign it.
public enum DocumentKind: String, Sendable, CaseIterable {
    /// Which keys may sign what; signed by the organization's owner alone.
    case root
    /// The registry policy.
    case policy
    /// Which policy is the current one, and until when that holds.
    case freshness
    /// Who is signed in on a device, and until when that holds.
    case ticket
    /// How far an organization's activity goes; signed by the keys of freshness, and read by no machine.
    case activity

    /// The kinds that a root document names keys for.
    public static let roles: [DocumentKind] = [.root, .policy, .freshness, .ticket]

    /// What the signature binds the payload to, so that no document passes for one of another kind.
    public var payloadType: String { "application/vnd.docker-ram.\(rawValue).v1+json" }

    /// The longest envelope that is read, in bytes.
    public var longest: Int { self == .policy ? 64 << 20 : 256 << 10 }
}

/// Bytes and who signed them: DSSE, the Dead Simple Signing Envelope, with Ed25519 (source: secure-systems-lab/dsse,
/// `envelope.md` and `protocol.md`).
///
/// What is signed are the very bytes, and they are read only after the signatures were found good: nothing depends on two
/// readers writing JSON in the same way, and nothing that a stranger made is read further than the envelope.
public struct Envelope: Hashable, Sendable {
    /// The most signatures that an envelope may bear.
    public static let mostSignatures = 16

    /// One signature.
    public struct Signature: Hashable, Sendable {
        /// The key that it claims to be of.
        public let key: KeyID
        /// 64 bytes.
        public let bytes: [UInt8]
    }

    /// The kind of document.
    public let kind: DocumentKind
    /// The document, not looked at.
    public let payload: [UInt8]
    /// The signatures, not looked at.
    public let signatures: [Signature]

    /// Signs a document.
    ///
    /// - Parameters:
    ///   - payload: the document.
    ///   - kind: its kind.
    ///   - keys: the keys that sign.
    /// - Throws: what the cryptography says.
    public init(signing payload: [UInt8], as kind: DocumentKind, with keys: [SigningKey]) throws {
        self.kind = kind
        self.payload = payload
        let message = Self.message(payload, kind)
        signatures = try keys.map {
            Signature(key: $0.verificationKey.id, bytes: try $0.signature(of: message))
        }
    }

    /// The same document with the signatures of others, too.
    ///
    /// - Parameter others: envelopes of the same document.
    /// - Returns: an envelope with one signature for each key; `nil` if one is of another document.
    public func joined(with others: [Envelope]) -> Envelope? {
        guard others.allSatisfy({ $0.kind == kind && $0.payload == payload }) else { return nil }
        var seen: Set<KeyID> = []
        let all = (signatures + others.flatMap(\.signatures)).filter { seen.insert($0.key).inserted }
        return Envelope(kind, payload, all)
    }

    private init(_ kind: DocumentKind, _ payload: [UInt8], _ signatures: [Signature]) {
        self.kind = kind
        self.payload = payload
        self.signatures = signatures
    }

    /// Reads an envelope of the kind that is expected, strictly: every key must be known and come once.
    ///
    /// - Parameters:
    ///   - json: the envelope.
    ///   - kind: what is expected.
    /// - Throws: ``Rejection``.
    public init(json: [UInt8], as kind: DocumentKind) throws(Rejection) {
        guard json.count <= kind.longest else { throw .tooLarge(limit: kind.longest) }
        var type: String?
        var payload: [UInt8]?
        var signatures: [Signature]?
        do throws(InvalidJSON) {
            var scanner = JSONScanner(json, limits: StrictJSON.Limits(bytes: kind.longest, depth: 4))
            try scanner.object(of: ["payloadType", "payload", "signatures"]) { (key, scanner) throws(InvalidJSON) in
                switch key {
                case "payloadType": type = try scanner.string()
                case "payload": payload = try Self.base64(&scanner)
                default: signatures = try Self.signatures(&scanner)
                }
            }
            try scanner.end()
        } catch {
            throw .malformed("the envelope is not in order: \(error)")
        }
        guard let type, let payload, let signatures else { throw .malformed("the envelope is not complete") }
        guard type.utf8.elementsEqual(kind.payloadType.utf8) else { throw .otherKind(String(type.prefix(80))) }
        self.init(kind, payload, signatures)
    }

    private static func signatures(_ scanner: inout JSONScanner) throws(InvalidJSON) -> [Signature] {
        var signatures: [Signature] = []
        try scanner.array { (scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            var key: KeyID?
            var bytes: [UInt8]?
            try scanner.object(of: ["keyid", "sig"]) { (name, scanner) throws(InvalidJSON) in
                if name == "keyid" { key = KeyID(try scanner.string()) } else { bytes = try base64(&scanner) }
            }
            guard let key, let bytes, bytes.count == 64 else {
                throw scanner.fault("this is no signature", at: start)
            }
            signatures.append(Signature(key: key, bytes: bytes))
            guard signatures.count <= mostSignatures else {
                throw scanner.fault("there are more than \(mostSignatures) signatures", at: start)
            }
        }
        return signatures
    }

    private static func base64(_ scanner: inout JSONScanner) throws(InvalidJSON) -> [UInt8] {
        try DocumentReader.value(&scanner, "Base64") { StrictBase64.decode($0.utf8) }
    }

    /// The envelope as it travels.
    public var json: String {
        JSONValue.object([
            JSONMember("payloadType", .string(kind.payloadType)),
            JSONMember("payload", .string(StrictBase64.encode(payload))),
            JSONMember(
                "signatures",
                .array(
                    signatures.map {
                        .object([
                            JSONMember("keyid", .string($0.key.description)),
                            JSONMember("sig", .string(StrictBase64.encode($0.bytes))),
                        ])
                    }
                )
            ),
        ]).text()
    }

    /// Those of some keys whose signature is there and good.
    ///
    /// The keys are the caller's: an envelope never brings its own. A key counts once, however often it has signed.
    ///
    /// - Parameter keys: the keys that may sign.
    /// - Returns: the names of those that have.
    public func signers(among keys: [KeyID: VerificationKey]) -> Set<KeyID> {
        let message = Self.message(payload, kind)
        return Set(
            signatures.compactMap { signature in
                guard let key = keys[signature.key], key.accepts(signature.bytes, of: message) else { return nil }
                return signature.key
            }
        )
    }

    /// DSSE's pre-authentication encoding.
    static func message(_ payload: [UInt8], _ kind: DocumentKind) -> [UInt8] {
        preAuthenticationEncoding(payload, type: kind.payloadType)
    }

    static func preAuthenticationEncoding(_ payload: [UInt8], type: String) -> [UInt8] {
        Array("DSSEv1 \(type.utf8.count) \(type) \(payload.count) ".utf8) + payload
    }
}
