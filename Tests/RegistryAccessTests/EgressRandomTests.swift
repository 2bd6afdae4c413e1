import TestSupport
import Testing

@testable import RegistryAccess

/// Holds `verdict(onReaching:)` against a definition that walks through all rules and all registries there are.
struct EgressRandomTests {
    private static let packs: [(registries: [String], hosts: [String])] = [
        (["hub.test"], ["auth.hub.test", "cdn.shared.test"]),
        (["{account}.ecr.{region}.cloud.test"], ["api.{region}.cloud.test", "b-{region}-x.s3.{region}.cloud.test"]),
        (["{name}.acr.test", "{name}.{region}.geo.acr.test"], ["{name}.{region}.data.acr.test", "*.blob.test.test"]),
        (["{place}-docker.pkg.test"], ["storage.pkg.test", "cdn.shared.test"]),
    ]
    /// What captures stand for; no rule names the last one, which stands for all the others there could be.
    private static let labels = ["a", "b", "eu", "us", "never"]

    /// Every host that a form has in this small world.
    private static func hosts(of form: String) -> [String] {
        guard let open = form.firstIndex(where: { $0 == "{" || $0 == "*" }) else { return [form] }
        let hole = form[open] == "*" ? "*" : String(form[open...(form[open...].firstIndex(of: "}") ?? open)])
        // One star after the other, but every place of a capture at once.
        return labels.flatMap { label in
            hosts(
                of: hole == "*"
                    ? form.replacing("*", with: label, maxReplacements: 1) : form.replacing(hole, with: label)
            )
        }
    }

    /// Whether a registry has a host as its support host, by trying every value of every capture.
    private static func sends(_ registryForm: String, _ registry: String, to hostForm: String, _ host: String) -> Bool {
        func choices(_ registryForm: String, _ hostForm: String) -> Bool {
            guard let open = registryForm.firstIndex(of: "{"), let close = registryForm.firstIndex(of: "}") else {
                return registryForm == registry && hosts(of: hostForm).contains(host)
            }
            let hole = String(registryForm[open...close])
            return labels.contains {
                choices(registryForm.replacing(hole, with: $0), hostForm.replacing(hole, with: $0))
            }
        }
        return choices(registryForm, hostForm)
    }

    private struct World {
        /// Each registry of a pack with its support hosts.
        var registries: [(address: RegistryAddress, form: String, hosts: Set<String>)] = []
        /// Hosts to ask about.
        var hosts: [RegistryAddress] = []

        init() throws {
            var all: Set<String> = ["a.test", "test", "x.hub.test", "b-eu-x.s3.us.cloud.test", "a.b.acr.test"]
            for pack in packs {
                for form in pack.registries {
                    for registry in EgressRandomTests.hosts(of: form) {
                        var support: Set<String> = []
                        for hostForm in pack.hosts {
                            for host in EgressRandomTests.hosts(of: hostForm)
                            where sends(form, registry, to: hostForm, host) {
                                support.insert(host)
                            }
                        }
                        registries.append((try RegistryAddress(registry), form, support))
                        all.formUnion(support)
                        all.insert(registry)
                    }
                }
            }
            hosts = try all.sorted().flatMap { [try RegistryAddress($0), try RegistryAddress("\($0):5000")] }
        }
    }

    // MARK: - The definition

    private enum Standing { case open, denied, shut }

    private static func standing(_ rules: [RegistryRule], _ address: RegistryAddress) -> Standing {
        func denies(_ action: RegistryAction) -> Bool {
            rules.contains {
                !$0.isAllowed && $0.repositories.isEmpty && $0.actions.contains(action) && $0.address.matches(address)
            }
        }
        func allows(_ action: RegistryAction) -> Bool {
            rules.contains {
                $0.isAllowed && (action == .login || $0.actions.contains(action)) && $0.address.matches(address)
            }
        }
        if denies(.pull), denies(.push) { return .denied }
        return RegistryAction.allCases.contains { allows($0) && !denies($0) } ? .open : .shut
    }

    private static func isOpen(_ rules: [RegistryRule], _ address: RegistryAddress, _ world: World) -> Bool {
        let own = standing(rules, address)
        if own == .denied { return false }
        let isNamed =
            own == .open
            && rules.contains { rule in
                // The rule that is named is the most specific one that allows the first action that is open.
                rule.isAllowed && rule.address.host == .exactly && rule.address.matches(address)
            }
        if isNamed { return true }
        if own != .open, rules.contains(where: { $0.supportHosts.contains { $0.matches(address) } }) { return true }
        let senders = address.port == nil ? world.registries.filter { $0.hosts.contains(address.host) } : []
        for sender in senders where standing(rules, sender.address) == .denied {
            // Only if no other registry of the same form has the host.
            if sender.form.contains("{"), senders.count(where: { $0.form == sender.form }) == 1 { return false }
        }
        return own == .open || senders.contains { standing(rules, $0.address) == .open }
    }

    private static func rules(_ generator: inout SeededGenerator) throws -> [RegistryRule] {
        let suffixes = [
            "test", "hub.test", "ecr.eu.cloud.test", "ecr.us.cloud.test", "eu.cloud.test", "cloud.test", "acr.test",
            "geo.acr.test", "eu.geo.acr.test", "us.geo.acr.test", "data.acr.test", "eu.data.acr.test", "pkg.test",
        ]
        let exact = [
            "hub.test", "auth.hub.test", "cdn.shared.test", "a.ecr.eu.cloud.test", "b.ecr.eu.cloud.test",
            "a.ecr.us.cloud.test", "api.eu.cloud.test", "a.acr.test", "b.acr.test", "a.eu.geo.acr.test",
            "b.eu.geo.acr.test", "a.us.geo.acr.test", "a.eu.data.acr.test", "eu-docker.pkg.test", "a.blob.test.test",
        ]
        return try (0..<Int.random(in: 1...7, using: &generator)).map { _ in
            var pattern =
                switch Int.random(in: 0..<20, using: &generator) {
                case 0: "**"
                case 1..<9: try #require(exact.randomElement(using: &generator))
                case 9..<14: "*.\(try #require(suffixes.randomElement(using: &generator)))"
                default: "**.\(try #require(suffixes.randomElement(using: &generator)))"
                }
            if pattern != "**" {
                pattern += try #require(["", "", "", ":*", ":5000"].randomElement(using: &generator))
            }
            let isAllowed = Int.random(in: 0..<3, using: &generator) > 0
            let actions: Set<RegistryAction>? =
                Int.random(in: 0..<4, using: &generator) > 0
                ? nil : [try #require(RegistryAction.allCases.randomElement(using: &generator))]
            return RegistryRule(address: try AddressPattern(pattern), isAllowed: isAllowed, actions: actions)
        }
    }

    @Test("The index agrees with the definition, whatever the rules are", arguments: 0..<8)
    func agrees(seed: UInt64) throws {
        let world = try World()
        let packs = RegistryPacks(
            version: 1,
            packs: try Self.packs.map { pack in
                RegistryPacks.Pack(
                    name: "pack",
                    registries: try pack.registries.map { try HostForm($0) },
                    hosts: try pack.hosts.map {
                        RegistryPacks.SupportHost(form: try HostForm($0), purpose: .content, isShared: false)
                    }
                )
            }
        )
        var generator = SeededGenerator(seed: seed)
        var outcomes: [String: Int] = [:]
        for _ in 0..<60 {
            let rules = try Self.rules(&generator)
            let policy = AccessPolicy(version: 1, organization: "acme", rules: rules, packs: packs)
            for host in world.hosts {
                let verdict = policy.verdict(onReaching: host)
                let isOpen = Self.isOpen(rules, host, world)
                outcomes["\(verdict.reason) \(isOpen)", default: 0] += 1
                guard (verdict.outcome == .allow) != isOpen else { continue }
                let text = rules.map { "\($0.isAllowed ? "+" : "-")\($0.address) \($0.actionsText)" }
                Issue.record("\(host) is \(isOpen ? "" : "not ")open with \(text): \(verdict)")
                return
            }
        }
        // Chance must have reached every kind of answer.
        #expect(outcomes["supportHost true", default: 0] > 20)
        #expect(outcomes["deniedByRule false", default: 0] > 20)
        #expect(outcomes["allowedByRule true", default: 0] > 20)
        #expect(outcomes["noRule false", default: 0] > 20)
    }
}

extension RegistryRule {
    fileprivate var actionsText: String { actions.map(\.rawValue).sorted().joined(separator: "+") }
}
