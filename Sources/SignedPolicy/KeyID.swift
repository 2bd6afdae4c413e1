public import Crypto
import RegistryAccess

/// The name of a public key: the lower-case hexadecimal SHA-256 of its 32 raw bytes.
public struct KeyID: Hashable, Sendable, CustomStringConvertible {
    /// 64 hexadecimal digits.
    public let description: String

    /// The name of a key.
    public init(_ key: Curve25519.Signing.PublicKey) {
        description = SHA256.hash(data: key.rawRepresentation).map { byte in
            String(UInt8(byte) >> 4, radix: 16) + String(UInt8(byte) & 15, radix: 16)
        }.joined()
    }
}
