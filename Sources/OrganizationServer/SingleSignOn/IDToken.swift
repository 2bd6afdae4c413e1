import Crypto
import RegistryAccess
import SignedPolicy

/// What a provider says of who has signed in there (OpenID Connect Core 1.0, section 2), after everything was checked.
struct IDToken: Hashable, Sendable {
    /// By what the provider knows the person; never used again for another.
    let subject: String
    /// The e-mail address.
    let email: String?
    /// Whether the provider says that the address is theirs.
    let isEmailVerified: Bool
    /// What they like to be called.
    let preferredName: String?
    /// When they last showed there who they are, if the provider says so.
    let authenticated: Instant?

    /// What a token has to fit to.
    struct Expectation: Sendable {
        let issuer: String
        let clientID: String
        let nonce: String
        /// The access token that came along.
        let accessToken: String?
        let now: Instant
    }

    /// How much clocks may differ, in seconds.
    static let leeway: Int64 = 60
    /// How old a token may be, in seconds: no sign-in takes longer.
    private static let oldest: Int64 = 600

    /// Checks a token.
    ///
    /// - Parameters:
    ///   - token: the token, as it came.
    ///   - expectation: what it has to fit to.
    ///   - key: finds a key of the provider by its name.
    /// - Throws: ``SingleSignOnFault``.
    init(
        _ token: String,
        for expectation: Expectation,
        key: (String) async throws(SingleSignOnFault) -> ProviderKey
    ) async throws(SingleSignOnFault) {
        let parts = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Base64URL.decode(parts[0]), let payload = Base64URL.decode(parts[1]),
            let signature = parts[2].isEmpty ? [] : Base64URL.decode(parts[2])
        else { throw .faultyToken("it has not got three parts in Base64") }
        let signed = Array(token.utf8.prefix(parts[0].count + 1 + parts[1].count))
        let algorithm = try await Self.checkSignature(signature, of: signed, try Self.object(header, "its header"), key)
        let claims = try Self.object(payload, "its claims")
        try Self.checkAudience(claims, expectation)
        try Self.checkTimes(claims, expectation.now)
        guard let nonce = claims.value(named: "nonce")?.text, nonce.utf8.elementsEqual(expectation.nonce.utf8) else {
            throw .nonce
        }
        if let hash = claims.value(named: "at_hash") {
            guard let accessToken = expectation.accessToken,
                hash.text == Self.leftHalfOfHash(accessToken, algorithm)
            else { throw .accessTokenHash }
        }
        guard let subject = claims.value(named: "sub")?.text, Names.isLabel(subject, longest: 255) else {
            throw .faultyToken("\"sub\" is missing, or has more than 255 bytes")
        }
        self.subject = subject
        let email = claims.value(named: "email")?.text
        self.email = email.flatMap { Names.isEmail($0) ? $0 : nil }
        isEmailVerified = claims.value(named: "email_verified") == .bool(true)
        preferredName = claims.value(named: "preferred_username")?.text
        // One that is no time is none.
        authenticated = (try? Self.seconds("auth_time", claims))?.map(Instant.init(seconds:))
    }

    private static func checkSignature(
        _ signature: [UInt8],
        of signed: [UInt8],
        _ header: JSONValue,
        _ key: (String) async throws(SingleSignOnFault) -> ProviderKey
    ) async throws(SingleSignOnFault) -> TokenAlgorithm {
        let name = header.value(named: "alg")?.text ?? ""
        guard let algorithm = TokenAlgorithm.allCases.first(where: { $0.rawValue.utf8.elementsEqual(name.utf8) })
        else { throw .algorithm(String(name.prefix(40))) }
        // What must be understood is not (RFC 7515, section 4.1.11).
        guard header.value(named: "crit") == nil else { throw .faultyToken("its header has \"crit\"") }
        guard let id = header.value(named: "kid")?.text else { throw .unknownKey }
        try await key(id).verify(signature, of: signed, by: algorithm)
        return algorithm
    }

    private static func checkAudience(_ claims: JSONValue, _ expectation: Expectation) throws(SingleSignOnFault) {
        guard let issuer = claims.value(named: "iss")?.text, issuer.utf8.elementsEqual(expectation.issuer.utf8) else {
            throw .issuer
        }
        func isUs(_ value: JSONValue?) -> Bool {
            value?.text.map { $0.utf8.elementsEqual(expectation.clientID.utf8) } ?? false
        }
        let audience = claims.value(named: "aud")
        let audiences = audience?.elements ?? audience.map { [$0] } ?? []
        guard audiences.contains(where: isUs) else { throw .audience }
        let party = claims.value(named: "azp")
        guard party == nil && audiences.count == 1 || isUs(party) else { throw .authorizedParty }
    }

    private static func checkTimes(_ claims: JSONValue, _ now: Instant) throws(SingleSignOnFault) {
        guard let expires = try seconds("exp", claims), expires > now.seconds - leeway else { throw .expired }
        if let start = try seconds("nbf", claims), start > now.seconds + leeway { throw .notYetValid }
        guard let issued = try seconds("iat", claims), issued <= now.seconds + leeway,
            issued >= now.seconds - oldest - leeway
        else { throw .issued }
    }

    private static func seconds(_ name: String, _ claims: JSONValue) throws(SingleSignOnFault) -> Int64? {
        guard let value = claims.value(named: name) else { return nil }
        guard case .number(let text) = value, let number = Double(text), abs(number) < 1e11 else {
            throw .faultyToken("\"\(name)\" is no time")
        }
        return Int64(number)
    }

    /// Section 3.1.3.6: the hash is that of the signature's algorithm, of Ed25519 SHA-512.
    private static func leftHalfOfHash(_ accessToken: String, _ algorithm: TokenAlgorithm) -> String {
        let bytes = Array(accessToken.utf8)
        let hash = algorithm == .eddsa ? Array(SHA512.hash(data: bytes)) : Array(SHA256.hash(data: bytes))
        return Base64URL.encode(Array(hash.prefix(hash.count / 2)))
    }

    private static func object(_ bytes: [UInt8], _ what: String) throws(SingleSignOnFault) -> JSONValue {
        do throws(SingleSignOnFault) {
            return try ProviderDocument.object(bytes)
        } catch {
            throw .faultyToken("\(what) cannot be read")
        }
    }
}
