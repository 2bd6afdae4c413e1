import Crypto
import CryptoExtras
import Dispatch
import Foundation
import HTTPTypes
import RegistryAccess

/// What scrypt costs here.
enum PasswordCost {
    /// The binary logarithms of the cost that may be set.
    static let allowed = 15...17
    /// What OWASP asks for where there is no Argon2id.
    static let standard = 17

    /// How many times the work is done, so that each cost is as hard to guess against (OWASP's table of parameters).
    ///
    /// - Parameter cost: the binary logarithm of the cost.
    /// - Returns: scrypt's `p`.
    static func parallelism(of cost: Int) -> Int { cost >= 17 ? 1 : cost == 16 ? 2 : 3 }
}

/// A password as somebody typed it; it never shows in a message.
struct Password: Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    /// Its bytes, for the hash and the rules.
    let bytes: [UInt8]

    /// A password, composed as Unicode composes it so that every keyboard gives the same bytes (RFC 8265).
    ///
    /// - Parameter text: what was typed.
    init(_ text: String) {
        bytes = Array(text.precomposedStringWithCanonicalMapping.utf8)
    }

    /// Not the password.
    var description: String { "<redacted>" }
    /// Not the password.
    var debugDescription: String { "<redacted>" }
}

/// A password as the database keeps it: a PHC string of scrypt.
struct PasswordHash: Hashable, Sendable, CustomStringConvertible {
    /// `$scrypt$ln=17,r=8,p=1$` with salt and hash in Base64 without padding.
    let phc: String
    fileprivate let cost: Int
    fileprivate let parallelism: Int
    fileprivate let salt: [UInt8]
    fileprivate let hash: [UInt8]

    fileprivate init(cost: Int, parallelism: Int, salt: [UInt8], hash: [UInt8]) {
        self.cost = cost
        self.parallelism = parallelism
        self.salt = salt
        self.hash = hash
        phc = "$scrypt$ln=\(cost),r=8,p=\(parallelism)$\(Self.encode(salt))$\(Self.encode(hash))"
    }

    /// Reads what the database keeps.
    ///
    /// - Parameter phc: the string; one that this program would not have written gives `nil`.
    init?(phc: String) {
        let parts = phc.split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0].isEmpty, parts[1] == "scrypt" else { return nil }
        let numbers = parts[2].split(separator: ",")
        guard numbers.count == 3, numbers[0].hasPrefix("ln="), numbers[1] == "r=8", numbers[2].hasPrefix("p="),
            let cost = Int(numbers[0].dropFirst(3)), let parallelism = Int(numbers[2].dropFirst(2)),
            (1...20).contains(cost), (1...16).contains(parallelism),
            let salt = Self.decode(parts[3]), let hash = Self.decode(parts[4]), salt.count >= 16, hash.count == 32
        else { return nil }
        self.init(cost: cost, parallelism: parallelism, salt: salt, hash: hash)
        guard self.phc == phc else { return nil }
    }

    /// Not the hash, which could be guessed against.
    var description: String { "<redacted>" }

    private static func encode(_ bytes: [UInt8]) -> String {
        String(StrictBase64.encode(bytes).prefix { $0 != "=" })
    }

    private static func decode(_ text: Substring) -> [UInt8]? {
        let padded = text + String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        return StrictBase64.decode(padded.utf8)
    }
}

/// Computes and checks hashes of passwords, two at a time: each takes 128 MiB and most of a second, by design.
///
/// Who comes when sixteen wait already is turned away rather than kept waiting.
actor Passwords {
    /// The binary logarithm of scrypt's cost for new hashes.
    nonisolated let cost: Int
    private let parallelism: Int
    private let decoy: PasswordHash
    private let queue = DispatchQueue(label: "passwords", attributes: .concurrent)
    private var running = 0
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// How many are computed, and how many wait for it.
    var load: (running: Int, waiting: Int) { (running, waiting.count) }

    static let mostRunning = 2
    static let mostWaiting = 16

    /// Hashes at a cost.
    ///
    /// - Parameter cost: the binary logarithm of scrypt's cost; tests take a small one.
    init(cost: Int) {
        self.cost = cost
        parallelism = PasswordCost.parallelism(of: cost)
        decoy = PasswordHash(
            cost: cost,
            parallelism: parallelism,
            salt: Self.randomSalt(),
            hash: [UInt8](repeating: 0, count: 32)
        )
    }

    /// The hash of a new password.
    ///
    /// - Parameter password: the password.
    /// - Returns: what the database keeps.
    /// - Throws: ``Problem`` 503 if too many wait.
    func hash(_ password: Password) async throws -> PasswordHash {
        let salt = Self.randomSalt()
        let hash = try await derive(password, cost, parallelism, salt)
        return PasswordHash(cost: cost, parallelism: parallelism, salt: salt, hash: hash)
    }

    /// Whether a password is somebody's.
    ///
    /// Nobody learns from the time that it takes whether there is such a person.
    ///
    /// - Parameters:
    ///   - password: what was typed.
    ///   - hash: what the database keeps; `nil` if there is no such person, or they have no password.
    /// - Returns: whether it is.
    /// - Throws: ``Problem`` 503 if too many wait.
    func check(_ password: Password, against hash: PasswordHash?) async throws -> Bool {
        let kept = hash ?? decoy
        let derived = try await derive(password, kept.cost, kept.parallelism, kept.salt)
        // Every byte is looked at, whichever differs.
        let difference = zip(derived, kept.hash).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) }
        return hash != nil && difference == 0 && derived.count == kept.hash.count
    }

    /// Whether a hash was made at a lower cost than new ones are.
    ///
    /// - Parameter hash: what the database keeps.
    /// - Returns: whether it should be made anew when the password is known.
    nonisolated func isOutdated(_ hash: PasswordHash) -> Bool { hash.cost < cost }

    private func derive(_ password: Password, _ cost: Int, _ parallelism: Int, _ salt: [UInt8]) async throws -> [UInt8]
    {
        try await take()
        defer { give() }
        return try await withCheckedThrowingContinuation { continuation in
            // Not on the threads that answer requests.
            queue.async {
                continuation.resume(
                    with: Result {
                        let key = try KDF.Scrypt.deriveKey(
                            from: password.bytes,
                            salt: salt,
                            outputByteCount: 32,
                            rounds: 1 << cost,
                            blockSize: 8,
                            parallelism: parallelism
                        )
                        return key.withUnsafeBytes { Array($0) }
                    }
                )
            }
        }
    }

    private func take() async throws {
        if running < Self.mostRunning {
            running += 1
            return
        }
        guard waiting.count < Self.mostWaiting else {
            var problem = Problem(.serviceUnavailable, .busy, "too many sign in at this moment", hint: "try again")
            problem.headers[.retryAfter] = "5"
            throw problem
        }
        // The one that ends hands its place on, so the count stays.
        await withCheckedContinuation { waiting.append($0) }
    }

    private func give() {
        if waiting.isEmpty { running -= 1 } else { waiting.removeFirst().resume() }
    }

    private static func randomSalt() -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
}
