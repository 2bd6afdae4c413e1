import Crypto
import RegistryAccess

/// The name of a public key: the lower-case hexadecimal SHA-256 of its 32 raw bytes.
public struct KeyID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// 64 hexadecimal digits.
    public let description: String

    /// Reads a name; anything but 64 lower-case hexadecimal digits gives `nil`.
    ///
    /// - Parameter text: what to read.
    public init?(_ text: some StringProtocol) {
        guard text.utf8.count == 64, text.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else {
            return nil
        }
        description = String(text)
    }

    /// Reads a fingerprint as people compare it: `sha256:` and the name; anything else gives `nil`.
    ///
    /// - Parameter text: what to read.
    public init?(fingerprint text: some StringProtocol) {
        guard text.utf8.starts(with: "sha256:".utf8) else { return nil }
        self.init(text.dropFirst(7))
    }

    fileprivate init(of rawKey: [UInt8]) {
        description = Hexadecimal.sha256(rawKey)
    }

    /// The name as people compare it: `sha256:` and the digits.
    public var fingerprint: String { "sha256:\(description)" }

    /// By their digits.
    public static func < (left: KeyID, right: KeyID) -> Bool { left.description < right.description }
}

/// An Ed25519 public key.
public struct VerificationKey: Hashable, Sendable {
    /// Its 32 bytes (RFC 8032).
    public let bytes: [UInt8]
    /// Its name.
    public let id: KeyID

    /// A key; bytes that are none give `nil`.
    ///
    /// - Parameter bytes: 32 bytes.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count == 32, (try? Curve25519.Signing.PublicKey(rawRepresentation: bytes)) != nil else {
            return nil
        }
        self.bytes = bytes
        id = KeyID(of: bytes)
    }

    /// Whether a signature of a message was made with the private half.
    func accepts(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes) else { return false }
        return key.isValidSignature(signature, for: message)
    }
}

/// An Ed25519 private key; it never shows in a message.
public struct SigningKey: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    private static let mark = "docker-ram-key-v1:ed25519:"

    private let seed: [UInt8]
    /// The public half.
    public let verificationKey: VerificationKey

    /// A new key from the system's source of chance.
    public static func generate() -> SigningKey {
        while true {
            let key = Curve25519.Signing.PrivateKey()
            if let key = SigningKey(seed: Array(key.rawRepresentation)) { return key }
        }
    }

    private init?(seed: [UInt8]) {
        guard seed.count == 32, let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: seed),
            let verificationKey = VerificationKey(Array(key.publicKey.rawRepresentation))
        else { return nil }
        self.seed = seed
        self.verificationKey = verificationKey
    }

    /// Reads a key file: one line, `docker-ram-key-v1:ed25519:` and 32 bytes in Base64; anything else gives `nil`.
    ///
    /// - Parameter file: what is in the file, with or without the end of the line.
    public init?(file: [UInt8]) {
        let line = file.last == 0x0A ? file.dropLast() : file[...]
        guard line.starts(with: Self.mark.utf8), let seed = StrictBase64.decode(line.dropFirst(Self.mark.utf8.count))
        else { return nil }
        self.init(seed: seed)
    }

    /// What a key file holds.
    ///
    /// Whoever has it signs in the name of the organization, so the file is for its owner alone.
    public var file: String { "\(Self.mark)\(StrictBase64.encode(seed))\n" }

    /// The signature of a message, 64 bytes.
    func signature(of message: [UInt8]) throws -> [UInt8] {
        try Array(Curve25519.Signing.PrivateKey(rawRepresentation: seed).signature(for: message))
    }

    /// Not the key.
    public var description: String { "<redacted>" }
    /// Not the key.
    public var debugDescription: String { "<redacted>" }
}

/// Digests as text.
package enum Hexadecimal {
    /// The SHA-256 of bytes in 64 lower-case digits.
    package static func sha256(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        let text = SHA256.hash(data: bytes).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }
}
