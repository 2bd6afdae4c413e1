import RegistryAccess

/// What a provider says of itself (OpenID Connect Discovery 1.0).
struct Provider: Hashable, Sendable {
    /// What it is called, byte for byte.
    let issuer: String
    /// Where browsers go.
    let authorization: ProviderAddress
    /// Where a code is exchanged.
    let token: ProviderAddress
    /// Where its keys are.
    let keys: ProviderAddress
    /// Whether the client's secret goes into the field `Authorization`, or else into the form.
    let authenticatesInHeader: Bool
    /// Whether it says in each answer who it is (RFC 9207).
    let namesItself: Bool

    /// Where a provider describes itself.
    ///
    /// - Parameter issuer: what it is called.
    /// - Returns: the address.
    static func discovery(of issuer: ProviderAddress) -> String {
        let text = issuer.description
        return (text.hasSuffix("/") ? String(text.dropLast()) : text) + "/.well-known/openid-configuration"
    }

    /// Reads what a provider says of itself.
    ///
    /// - Parameters:
    ///   - discovery: its document.
    ///   - expected: what it must be called.
    /// - Throws: ``SingleSignOnFault`` with what is not as it has to be.
    init(discovery: [UInt8], of expected: ProviderAddress) throws(SingleSignOnFault) {
        let document = try ProviderDocument.object(discovery)
        guard let issuer = document.value(named: "issuer")?.text else { throw .missingEndpoint("issuer") }
        guard issuer.utf8.elementsEqual(expected.description.utf8) else { throw .otherIssuer(issuer) }
        func address(_ name: String) throws(SingleSignOnFault) -> ProviderAddress {
            guard let text = document.value(named: name)?.text else { throw .missingEndpoint(name) }
            // Who is reached over TLS does not send the secret, or us, to where there is none.
            guard let address = ProviderAddress(text, mayHaveQuery: true), address.isSecure || !expected.isSecure
            else { throw .unsafeEndpoint(name) }
            return address
        }
        func list(_ name: String) -> Set<String>? {
            document.value(named: name)?.elements.map { Set($0.compactMap(\.text)) }
        }
        self.issuer = issuer
        authorization = try address("authorization_endpoint")
        token = try address("token_endpoint")
        keys = try address("jwks_uri")
        // Some providers do PKCE and do not say so. It is always asked for; that nobody slips in a code of another sign-in
        // is seen to by the nonce as well (RFC 9700, section 2.1.1).
        if let methods = list("code_challenge_methods_supported"), !methods.contains("S256") { throw .withoutS256 }
        if let types = list("response_types_supported"), !types.contains("code") { throw .withoutCodeFlow }
        if let algorithms = list("id_token_signing_alg_values_supported"),
            algorithms.isDisjoint(with: TokenAlgorithm.allCases.map(\.rawValue))
        {
            throw .withoutAlgorithm
        }
        let methods = list("token_endpoint_auth_methods_supported") ?? ["client_secret_basic"]
        guard methods.contains("client_secret_basic") || methods.contains("client_secret_post") else {
            throw .withoutClientSecret
        }
        authenticatesInHeader = methods.contains("client_secret_basic")
        namesItself = document.value(named: "authorization_response_iss_parameter_supported") == .bool(true)
    }
}

/// Documents that a provider sends: strict as to what JSON is, and with members that we do not know.
enum ProviderDocument {
    /// Reads an object.
    ///
    /// - Parameter bytes: the document.
    /// - Returns: the object, in which no key is twice.
    /// - Throws: ``SingleSignOnFault/malformed(_:)``.
    static func object(_ bytes: [UInt8]) throws(SingleSignOnFault) -> JSONValue {
        let value: JSONValue
        do throws(InvalidJSON) {
            value = try StrictJSON.parse(bytes, limits: StrictJSON.Limits(bytes: 1 << 20, depth: 16, foldsKeys: false))
        } catch {
            throw .malformed("\(error)")
        }
        guard value.members != nil else { throw .malformed("it is no object") }
        return value
    }
}
