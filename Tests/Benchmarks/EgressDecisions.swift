import Foundation
import RegistryAccess
import TestSupport

/// What the decisions of the egress proxy cost with a policy of cloud registries.
struct EgressDecisions {
    /// From the document to a policy.
    let loadSeconds: Double
    /// One verdict on the host of a registry.
    let registryNanoseconds: Double
    /// One verdict on a support host.
    let supportHostNanoseconds: Double

    /// As one line, from one process to the other.
    var line: String { "\(loadSeconds) \(registryNanoseconds) \(supportHostNanoseconds)" }

    /// Reads the line.
    ///
    /// - Parameter line: what another process measured.
    /// - Throws: ``UnexpectedEnd`` if it is none.
    init(line: String) throws {
        let parts = line.trimmingCharacters(in: .whitespacesAndNewlines).split(separator: " ").compactMap { Double($0) }
        guard parts.count == 3 else { throw UnexpectedEnd(description: "no measurement: \(line)") }
        (loadSeconds, registryNanoseconds, supportHostNanoseconds) = (parts[0], parts[1], parts[2])
    }

    private init(loadSeconds: Double, registryNanoseconds: Double, supportHostNanoseconds: Double) {
        self.loadSeconds = loadSeconds
        self.registryNanoseconds = registryNanoseconds
        self.supportHostNanoseconds = supportHostNanoseconds
    }

    /// Measures in this process.
    ///
    /// - Parameter rules: how many rules the policy has: accounts of ECR in 20 regions, registries of ACR and others, and one
    ///   in a hundred each with `supportHosts` or one that denies.
    /// - Returns: what it costs.
    /// - Throws: if the policy cannot be read, or decides wrongly.
    static func measure(rules: Int) throws -> EgressDecisions {
        let json = document(rules: rules)
        let start = Decisions.processorSeconds
        let policy = try AccessPolicy(json: json)
        let loadSeconds = Decisions.processorSeconds - start

        // Every second one is open.
        var generator = SeededGenerator(seed: 42)
        let numbers = (0..<1024).map { _ in Int.random(in: 0..<rules, using: &generator) }
        let registries = try numbers.enumerated().map { place, rule in
            let isOpen = place.isMultiple(of: 2) && !rule.isMultiple(of: 100)
            return (try RegistryAddress(place.isMultiple(of: 2) ? registry(rule) : "x\(rule).azurecr.io"), isOpen)
        }
        let supportHosts = try numbers.enumerated().map { place, rule in
            let isOpen = place.isMultiple(of: 2)
            let host =
                switch place % 4 {
                case 0: "prod-\(region(1))-starport-layer-bucket.s3.\(region(1)).amazonaws.com"
                case 1: "prod-evil-starport-layer-bucket.s3.\(region(1)).amazonaws.com"
                case 2: "r\(azure(near: rule, in: rules)).eastus.data.azurecr.io"
                default: "x\(rule).eastus.data.azurecr.io"
                }
            return (try RegistryAddress(host), isOpen)
        }
        return EgressDecisions(
            loadSeconds: loadSeconds,
            registryNanoseconds: try nanoseconds(policy, registries),
            supportHostNanoseconds: try nanoseconds(policy, supportHosts)
        )
    }

    private static func nanoseconds(_ policy: AccessPolicy, _ hosts: [(RegistryAddress, Bool)]) throws -> Double {
        for (host, isOpen) in hosts where (policy.verdict(onReaching: host).outcome == .allow) != isOpen {
            throw UnexpectedEnd(description: "a wrong verdict on \(host)")
        }
        let rounds = 200
        let expected = rounds * hosts.count { $0.1 }
        var open = 0
        let begun = Decisions.processorSeconds
        for _ in 0..<rounds {
            for (host, _) in hosts where policy.verdict(onReaching: host).outcome == .allow { open += 1 }
        }
        let nanoseconds = (Decisions.processorSeconds - begun) * 1e9 / Double(rounds * hosts.count)
        guard open == expected else { throw UnexpectedEnd(description: "wrong verdicts") }
        return nanoseconds
    }

    private static func document(rules: Int) -> [UInt8] {
        var text = #"{"version":1,"organization":"acme","registries":["#
        for rule in 0..<rules {
            if rule > 0 { text += "," }
            text += #"{"address":"\#(registry(rule))","allowed":\#(!rule.isMultiple(of: 100))"#
            if rule % 100 == 2 { text += #","supportHosts":["cdn\#(rule).acme.test"]"# }
            text += "}"
        }
        text += "]}"
        return Array(text.utf8)
    }

    private static func registry(_ rule: Int) -> String {
        switch rule % 4 {
        case 0, 1: "\(100_000_000_000 + rule).dkr.ecr.\(region(rule % 20)).amazonaws.com"
        case 2: "registry\(rule).acme.test"
        default: "r\(rule).azurecr.io"
        }
    }

    private static func region(_ number: Int) -> String { "region-\(number)" }

    /// The number of a rule for a registry of ACR.
    private static func azure(near rule: Int, in rules: Int) -> Int { min(rule - rule % 4, rules - rules % 4 - 4) + 3 }
}
