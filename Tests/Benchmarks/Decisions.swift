import Foundation
import Glibc
import RegistryAccess
import TestSupport

/// What a policy of some size costs.
struct Decisions {
    /// The document, in bytes.
    let bytes: Int
    /// From the document to a policy.
    let loadSeconds: Double
    /// One verdict.
    let nanoseconds: Double
    /// How much the process grew by the policy, without its document.
    let residentBytes: Int

    /// As one line, from one process to the other.
    var line: String { "\(bytes) \(loadSeconds) \(nanoseconds) \(residentBytes)" }

    /// Reads the line.
    ///
    /// - Parameter line: what another process measured.
    /// - Throws: ``UnexpectedEnd`` if it is none.
    init(line: String) throws {
        let parts = line.trimmingCharacters(in: .whitespacesAndNewlines).split(separator: " ").compactMap { Double($0) }
        guard parts.count == 4 else { throw UnexpectedEnd(description: "no measurement: \(line)") }
        self.init(
            bytes: Int(parts[0]),
            loadSeconds: parts[1],
            nanoseconds: parts[2],
            residentBytes: Int(parts[3])
        )
    }

    private init(bytes: Int, loadSeconds: Double, nanoseconds: Double, residentBytes: Int) {
        self.bytes = bytes
        self.loadSeconds = loadSeconds
        self.nanoseconds = nanoseconds
        self.residentBytes = residentBytes
    }

    /// Measures in this process.
    ///
    /// - Parameter rules: how many rules the policy has: exact names, subdomains, ports and repositories.
    /// - Returns: what it costs.
    /// - Throws: if the policy cannot be read, or decides wrongly.
    static func measure(rules: Int) throws -> Decisions {
        var json = document(rules: rules)
        let before = try residentBytes()
        let start = processorSeconds
        let policy = try AccessPolicy(json: json)
        let loadSeconds = processorSeconds - start
        let after = try residentBytes()
        let size = json.count
        json = []

        // Half of them allowed, each kind of rule, all over the policy, and hosts that no rule knows.
        var generator = SeededGenerator(seed: 42)
        let requests: [(AccessRequest, Bool)] = try (0..<1024).map { number in
            let isKnown = number.isMultiple(of: 2)
            let rule = Int.random(in: 0..<rules, using: &generator)
            let domain = isKnown ? "test" : "example"
            let host =
                switch rule % 4 {
                case 0: "r\(rule).acme.\(domain)"
                case 1: "a.b.d\(rule).acme.\(domain)"
                case 2: "p\(rule).acme.\(domain):5000"
                default: "i\(rule).acme.\(domain)"
                }
            return (AccessRequest(.pull, try RegistryAddress(host), repository: "team/app/api"), isKnown)
        }
        for (request, isAllowed) in requests where (policy.verdict(on: request).outcome == .allow) != isAllowed {
            throw UnexpectedEnd(description: "a wrong verdict on \(request.address)")
        }
        let rounds = 500
        var allowed = 0
        let begun = processorSeconds
        for _ in 0..<rounds {
            for (request, _) in requests where policy.verdict(on: request).outcome == .allow { allowed += 1 }
        }
        let nanoseconds = (processorSeconds - begun) * 1e9 / Double(rounds * requests.count)
        guard allowed == rounds * requests.count / 2 else { throw UnexpectedEnd(description: "wrong verdicts") }
        return Decisions(
            bytes: size,
            loadSeconds: loadSeconds,
            nanoseconds: nanoseconds,
            residentBytes: after - before
        )
    }

    /// What this process has used of a processor, which no other process on the machine adds to.
    static var processorSeconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func document(rules: Int) -> [UInt8] {
        var text = #"{"version":1,"organization":"acme","registries":["#
        for rule in 0..<rules {
            if rule > 0 { text += "," }
            switch rule % 4 {
            case 0: text += #"{"address":"r\#(rule).acme.test","allowed":true}"#
            case 1: text += #"{"address":"**.d\#(rule).acme.test","allowed":true}"#
            case 2: text += #"{"address":"p\#(rule).acme.test:*","allowed":true}"#
            default: text += #"{"address":"i\#(rule).acme.test","allowed":true,"repositories":["team/**"]}"#
            }
        }
        text += "]}"
        return Array(text.utf8)
    }

    private static func residentBytes() throws -> Int {
        let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        let parts = text.split(separator: " ")
        guard parts.count > 1, let pages = Int(parts[1]) else { throw CocoaError(.fileReadUnknown) }
        return pages * 4096
    }
}
