import RegistryAccess

/// The version of the engine that asks, as far as a decision depends on it.
///
/// The engine does not say it when it asks. It says it in the `Server` header of its answers, which it shows to its
/// plugins afterwards (moby, `daemon/server/middleware/version.go`); every `docker` command begins with a call to
/// `/_ping`, so the version is known before it matters.
struct EngineVersion: Hashable, Sendable, CustomStringConvertible {
    let major: Int
    let minor: Int

    /// For example `28.2`.
    var description: String { "\(major).\(minor)" }

    /// Whether the engine takes HTTP/2 on its socket (moby, `daemon/command/httphandler.go`, from 29.2 on).
    var servesHTTP2: Bool { (major, minor) >= (29, 2) }

    /// Reads a `Server` header; gives `nil` if it does not begin with Docker's name and two numbers.
    ///
    /// - Parameter server: for example `Docker/28.2.2 (linux)`.
    init?(server: String) {
        let prefix = "Docker/"
        guard server.utf8.starts(with: prefix.utf8) else { return nil }
        let numbers = server.utf8.dropFirst(prefix.utf8.count).split(
            separator: UInt8(ascii: "."),
            maxSplits: 2,
            omittingEmptySubsequences: false
        )
        guard numbers.count == 3, let major = Self.number(numbers[0]), let minor = Self.number(numbers[1]) else {
            return nil
        }
        self.major = major
        self.minor = minor
    }

    /// Reads the body of an `AuthZRes` call; gives `nil` if it does not tell the version.
    ///
    /// - Parameter json: the body.
    init?(authorizationResponse json: [UInt8]) {
        let limits = StrictJSON.Limits(bytes: PluginConnection.largestCall, depth: 8)
        guard let call = try? StrictJSON.parse(json, limits: limits),
            let server = call.value(named: "ResponseHeaders")?.value(named: "Server")?.text
        else { return nil }
        self.init(server: server)
    }

    private static func number(_ digits: Substring.UTF8View) -> Int? {
        guard (1...3).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }
}
