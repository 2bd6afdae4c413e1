import JWTKit
import RegistryAccess

/// How an ID token may be signed.
enum TokenAlgorithm: String, Sendable, CaseIterable {
    case rs256 = "RS256"
    case ps256 = "PS256"
    case es256 = "ES256"
    case eddsa = "EdDSA"
}

/// A key of a provider with which it signs (RFC 7517).
struct ProviderKey: Hashable, Sendable {
    /// What the key is made of.
    enum Material: Hashable, Sendable {
        case rsa(modulus: String, exponent: String)
        case p256(x: String, y: String)
        case ed25519(x: String)
    }

    /// By what tokens name it.
    let id: String
    let material: Material
    /// The one algorithm that it is for; `nil` if that is not said.
    let algorithm: String?

    /// Reads a set of keys; those that are of no use here are left out.
    ///
    /// - Parameter document: the set.
    /// - Returns: the keys.
    /// - Throws: ``SingleSignOnFault/malformed(_:)``, also if two keys have the same name.
    static func set(_ document: [UInt8]) throws(SingleSignOnFault) -> [ProviderKey] {
        guard let elements = try ProviderDocument.object(document).value(named: "keys")?.elements else {
            throw .malformed("the list \"keys\" is missing")
        }
        let keys = elements.compactMap(ProviderKey.init)
        guard Set(keys.map(\.id)).count == keys.count else { throw .malformed("two keys have the same \"kid\"") }
        return keys
    }

    private init?(_ value: JSONValue) {
        func text(_ name: String) -> String? { value.value(named: name)?.text }
        guard let id = text("kid"), !id.isEmpty, text("use") ?? "sig" == "sig" else { return nil }
        if let operations = value.value(named: "key_ops")?.elements, !operations.contains(.string("verify")) {
            return nil
        }
        switch (text("kty"), text("crv")) {
        case ("RSA", _):
            guard let modulus = text("n"), let exponent = text("e") else { return nil }
            material = .rsa(modulus: modulus, exponent: exponent)
        case ("EC", "P-256"):
            guard let x = text("x"), let y = text("y") else { return nil }
            material = .p256(x: x, y: y)
        case ("OKP", "Ed25519"):
            guard let x = text("x") else { return nil }
            material = .ed25519(x: x)
        default: return nil
        }
        self.id = id
        algorithm = text("alg")
    }

    /// Checks the signature of a token that names this key.
    ///
    /// The library's collection of keys holds this one alone and knows its algorithm, so that nothing in the token's header
    /// chooses either.
    ///
    /// - Parameters:
    ///   - token: the token.
    ///   - signed: the algorithm that the token's header names.
    /// - Throws: ``SingleSignOnFault``.
    func verify(_ token: String, signed: TokenAlgorithm) async throws(SingleSignOnFault) {
        guard algorithm ?? signed.rawValue == signed.rawValue else { throw .keyOfAnotherKind }
        let name = JWKIdentifier(string: id)
        let key: JWK
        switch (material, signed) {
        case (.rsa(let modulus, let exponent), .rs256):
            key = .rsa(.rs256, identifier: name, modulus: modulus, exponent: exponent)
        case (.rsa(let modulus, let exponent), .ps256):
            key = .rsa(.ps256, identifier: name, modulus: modulus, exponent: exponent)
        case (.p256(let x, let y), .es256): key = .ecdsa(.es256, identifier: name, x: x, y: y, curve: .p256)
        case (.ed25519(let x), .eddsa): key = .octetKeyPair(.eddsa, identifier: name, x: x, y: nil, curve: .ed25519)
        default: throw .keyOfAnotherKind
        }
        do {
            let keys = JWTKeyCollection()
            try await keys.add(jwk: key)
            _ = try await keys.verify(token, as: NothingRead.self)
        } catch {
            throw .signature
        }
    }
}

/// The library checks signatures only; claims are read by ``IDToken``.
private struct NothingRead: JWTPayload {
    func verify(using algorithm: some JWTAlgorithm) async throws {}
}
