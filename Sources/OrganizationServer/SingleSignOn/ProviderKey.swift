import Crypto
import CryptoExtras
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

    /// Checks a signature by this key (RFC 7515, section 5.2; RFC 7518, sections 3.3 to 3.5; RFC 8037, section 3.1).
    ///
    /// - Parameters:
    ///   - signature: the signature.
    ///   - signed: what is signed: the token's header and claims as they came, with the point between them.
    ///   - algorithm: the algorithm that the token's header names; the key's kind and what it is for must fit to it, so
    ///     that a header cannot choose.
    /// - Throws: ``SingleSignOnFault/keyOfAnotherKind``, or ``SingleSignOnFault/signature``, also for a key that is none.
    func verify(_ signature: [UInt8], of signed: [UInt8], by algorithm: TokenAlgorithm) throws(SingleSignOnFault) {
        guard self.algorithm ?? algorithm.rawValue == algorithm.rawValue else { throw .keyOfAnotherKind }
        let isGood: Bool?
        switch (material, algorithm) {
        case (.rsa(let modulus, let exponent), .rs256):
            isGood = rsa(modulus, exponent)?.isValidSignature(
                _RSA.Signing.RSASignature(rawRepresentation: signature),
                for: signed,
                padding: .insecurePKCS1v1_5
            )
        case (.rsa(let modulus, let exponent), .ps256):
            isGood = rsa(modulus, exponent)?.isValidSignature(
                _RSA.Signing.RSASignature(rawRepresentation: signature),
                for: signed,
                padding: .PSS
            )
        case (.p256(let x, let y), .es256):
            guard let x = Base64URL.decode(x.utf8), let y = Base64URL.decode(y.utf8), x.count == 32, y.count == 32,
                let key = try? P256.Signing.PublicKey(rawRepresentation: x + y),
                let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature)
            else { throw .signature }
            isGood = key.isValidSignature(signature, for: signed)
        case (.ed25519(let x), .eddsa):
            guard let x = Base64URL.decode(x.utf8), let key = try? Curve25519.Signing.PublicKey(rawRepresentation: x)
            else {
                throw .signature
            }
            isGood = key.isValidSignature(signature, for: signed)
        default: throw .keyOfAnotherKind
        }
        guard isGood == true else { throw .signature }
    }

    /// The library takes no key of less than 2048 bits.
    private func rsa(_ modulus: String, _ exponent: String) -> _RSA.Signing.PublicKey? {
        guard let n = Base64URL.decode(modulus.utf8), let e = Base64URL.decode(exponent.utf8) else { return nil }
        return try? _RSA.Signing.PublicKey(n: n, e: e)
    }
}
