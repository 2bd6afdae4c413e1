import SignedPolicy

/// A secret that the server hands out and knows again: `ramp_`, 43 letters and digits, `_`, and six that check them.
///
/// It is random and says nothing. The server keeps its SHA-256 only; 256 random bits need no slow hash. The prefix lets
/// scanners for leaked secrets find it, and the check keeps a mistyped one away from the database.
struct OpaqueToken: Hashable, Sendable, CustomStringConvertible {
    /// What a token is good for.
    enum Kind: String, Sendable, CaseIterable {
        /// What a person who signed in shows with each request, for minutes.
        case access = "rama"
        /// What gets a new access token, once.
        case refresh = "ramr"
        /// What machines and CI show, made by a person, with scopes and an end.
        case personal = "ramp"
        /// By which a device is known.
        case device = "ramd"
        /// What lets a device register itself where not everyone may.
        case enrollment = "rame"
        /// By which a program asks whether a person has approved its sign-in.
        case deviceCode = "ramc"
        /// What lets a person join.
        case invitation = "rami"
        /// What lets a person set a new password without the old one.
        case passwordReset = "ramn"
        /// What binds a form of the sign-in page to the browser that it was given to.
        case form = "ramf"
        /// By which a browser is known in which somebody signed in.
        case browser = "ramb"
        /// What lets whoever started the server make its organization in a browser.
        case setUp = "rams"
    }

    /// What it is good for.
    let kind: Kind
    /// The secret itself, for its one reader.
    let secret: String

    /// A new one.
    ///
    /// - Parameters:
    ///   - kind: what it is good for.
    ///   - generator: where chance comes from; the system's.
    init(_ kind: Kind, using generator: inout some RandomNumberGenerator) {
        self.kind = kind
        let random = String((0..<Self.randomLength).map { _ in Self.digits.randomElement(using: &generator) ?? "0" })
        secret = "\(kind.rawValue)_\(random)_\(Self.check(kind, random))"
    }

    /// A new one.
    ///
    /// - Parameter kind: what it is good for.
    init(_ kind: Kind) {
        var generator = SystemRandomNumberGenerator()
        self.init(kind, using: &generator)
    }

    /// Reads one.
    ///
    /// - Parameter text: what somebody showed; `nil` if it is none, which only says that it was never handed out.
    init?(_ text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: "_"), omittingEmptySubsequences: false).map {
            String($0) ?? ""
        }
        guard parts.count == 3, let kind = Kind(rawValue: parts[0]), parts[1].utf8.count == Self.randomLength,
            parts[2].utf8.elementsEqual(Self.check(kind, parts[1]).utf8)
        else { return nil }
        self.kind = kind
        secret = text
    }

    /// The SHA-256 by which the database knows it, in hexadecimal digits.
    var digest: String { Hexadecimal.sha256(Array(secret.utf8)) }

    /// Nothing of the secret.
    var description: String { "\(kind.rawValue)_<redacted>" }

    private static let digits = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    /// 43 of 62 are a little more than 256 bits.
    private static let randomLength = 43

    private static func check(_ kind: Kind, _ random: String) -> String {
        var rest = crc32(Array("\(kind.rawValue)_\(random)".utf8))
        var text = ""
        for _ in 0..<6 {
            text.append(digits[Int(rest % 62)])
            rest /= 62
        }
        return text
    }

    /// CRC-32 as in ISO 3309, bit by bit: it is for 50 bytes.
    private static func crc32(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~0) { (sum, byte) in
            (0..<8).reduce(sum ^ UInt32(byte)) { (sum, _) in sum & 1 == 1 ? (sum >> 1) ^ 0xEDB8_8320 : sum >> 1 }
        }
    }
}
