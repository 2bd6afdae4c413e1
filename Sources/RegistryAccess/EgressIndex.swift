/// Finds the rule that opens a support host in the egress proxy without walking through the rules.
///
/// A host that has the form of a pack's support host is open if a registry of that pack is. Where the host's captures
/// name one registry, the rules are asked about it. Where they leave some open, like the account of an ECR registry
/// whose bucket is known by its region only, there are two ways: wildcard rules are found by asking about a registry
/// with a label that no rule can name, and the other rules are in `projections`, which hold for each of them the
/// captures that such hosts have. So there are as many projections as regions, not as accounts.
struct EgressIndex: Sendable {
    /// What rules say of registries, as far as hosts can tell them apart.
    private struct Projection: Hashable {
        let link: Int
        /// The values of the captures that the hosts have, a dot between them.
        let values: String
    }

    private let links: PackLinks
    private var projections: [Projection: Int32] = [:]
    private var supportHosts = PatternTable(minimumCapacity: 0)
    /// The first rule that opens each pattern of `supportHosts`.
    private var supportRules: [Int32] = []
    private let hasDenyingRules: Bool

    init(_ rules: [RegistryRule], _ index: RuleIndex, _ packs: RegistryPacks) {
        links = PackLinks(packs)
        hasDenyingRules = rules.contains { !$0.isAllowed }
        var found: [Range<Int>] = []
        for (number, rule) in rules.enumerated() where rule.isAllowed {
            project(rule.address, number, index, &found)
            guard !rule.supportHosts.isEmpty, !isDenied(rule.address, index) else { continue }
            for pattern in rule.supportHosts where supportHosts.place(of: pattern) == supportRules.count {
                supportRules.append(Int32(truncatingIfNeeded: number))
            }
        }
    }

    // MARK: - Filling

    private func isDenied(_ pattern: AddressPattern, _ index: RuleIndex) -> Bool {
        guard hasDenyingRules, let sample = pattern.sample else { return false }
        if case .denied = index.standing(of: sample) { return true }
        return false
    }

    private mutating func project(
        _ pattern: AddressPattern,
        _ rule: Int,
        _ index: RuleIndex,
        _ found: inout [Range<Int>]
    ) {
        guard pattern.port == .any || pattern.port == .only(nil) else { return }
        let name = pattern.name.utf8.span
        switch pattern.host {
        case .everything, .ipv4Network, .ipv6Network: return
        case .exactly:
            for number in links.open(to: HostForm.tailHash(name)) {
                let link = links.all[number]
                guard link.registry.matches(name, &found) else { continue }
                note(link, number, pattern, found, rule, index)
            }
        case .oneLabelBelow, .labelsBelow:
            let candidates = HostForm.tailHash(name).map { links.open(to: $0) } ?? links.everyOpen
            for number in candidates {
                let link = links.all[number]
                guard link.registry.isBelow(name, oneLabel: pattern.host == .oneLabelBelow, &found) else { continue }
                // Otherwise asking with a label that no rule can name finds the rule.
                let known = found.indices.filter { !found[$0].isEmpty }
                guard known.contains(where: { !link.shared.contains($0) }) else { continue }
                note(link, number, pattern, found, rule, index)
            }
        }
    }

    private mutating func note(
        _ link: PackLinks.Link,
        _ number: Int,
        _ pattern: AddressPattern,
        _ found: [Range<Int>],
        _ rule: Int,
        _ index: RuleIndex
    ) {
        let key = Projection(link: number, values: Self.values(link.shared.map { found[$0] }, pattern.name))
        guard projections[key] == nil else { return }
        if hasDenyingRules {
            let texts = RegistryPacks.texts(found, of: pattern.name)
            let registry = link.registry.filled({ texts[$0] }, orElse: HostForm.anyLabel)
            guard case .open = index.standing(of: .filled(registry)) else { return }
        }
        projections[key] = Int32(truncatingIfNeeded: rule)
    }

    private static func values(_ ranges: [Range<Int>], _ host: String) -> String {
        if ranges.isEmpty { return "" }
        let bytes = host.utf8.span
        var values: [UInt8] = []
        for range in ranges {
            if !values.isEmpty { values.append(ASCII.dot) }
            for index in range { values.append(bytes[index]) }
        }
        return String(decoding: values, as: UTF8.self)
    }

    // MARK: - Asking

    /// The first rule with a `supportHosts` pattern that speaks of an address.
    func ruleNaming(_ address: RegistryAddress) -> Int? {
        supportHosts.matches(address).first.map { Int(supportRules[$0]) }
    }

    /// The rule that opens a registry of whose pack an address is a support host.
    func ruleOpening(_ address: RegistryAddress, _ index: RuleIndex) -> Int? {
        var opening: Int?
        forEachRegistry(sendingTo: address) { number, link, registry, found in
            if case .open(let rule) = index.standing(of: registry) {
                opening = rule
            } else if !link.isDetermined, !projections.isEmpty {
                let ranges = link.shared.map { link.hostCaptures[$0].map { found[$0] } ?? 0..<0 }
                let key = Projection(link: number, values: Self.values(ranges, address.host))
                opening = projections[key].map { Int($0) }
            }
            return opening == nil
        }
        return opening
    }

    /// The rule that denies a registry of which alone an address can be a support host.
    ///
    /// A wildcard that speaks of the host too does not open it, so `**.azurecr.io` with a denied `evil.azurecr.io`
    /// leaves `evil.eastus.data.azurecr.io` shut. Hosts that a registry does not have for itself are not concerned.
    func ruleDenyingRegistry(of address: RegistryAddress, _ index: RuleIndex) -> Int? {
        guard hasDenyingRules else { return nil }
        var denying: Int?
        forEachRegistry(sendingTo: address) { _, link, registry, _ in
            if link.isDetermined, !link.shared.isEmpty, case .denied(let rule) = index.standing(of: registry) {
                denying = rule
            }
            return denying == nil
        }
        return denying
    }

    /// Calls the body with each registry that a host can be a support host of, until it returns `false`; a label that
    /// no rule can name stands for what the host does not tell.
    private func forEachRegistry(
        sendingTo address: RegistryAddress,
        _ body: (Int, PackLinks.Link, RegistryAddress, [Range<Int>]) -> Bool
    ) {
        guard address.port == nil, !address.isIPAddress else { return }
        let host = address.host.utf8.span
        guard let tail = HostForm.tailHash(host) else { return }
        var found: [Range<Int>] = []
        for number in links.to(tail) {
            let link = links.all[number]
            guard link.host.matches(host, &found) else { continue }
            let values = RegistryPacks.texts(found, of: address.host)
            let registry = link.registry.filled(
                { link.hostCaptures[$0].flatMap { values[$0] } },
                orElse: HostForm.anyLabel
            )
            guard body(number, link, .filled(registry), found) else { return }
        }
    }
}

/// Every way from a form of a registry to a form of a support host in the packs.
struct PackLinks: Sendable {
    struct Link: Sendable {
        let registry: HostForm
        let host: HostForm
        /// For each capture of the registry its place in the host's form, if the host has it.
        let hostCaptures: [Int?]
        /// The captures of the registry that the host has.
        let shared: [Int]
        /// Whether a host names one registry.
        var isDetermined: Bool { shared.count == hostCaptures.count }

        init(_ registry: HostForm, _ host: HostForm) {
            self.registry = registry
            self.host = host
            hostCaptures = registry.captures.map { host.captures.firstIndex(of: $0) }
            shared = hostCaptures.indices.filter { [hostCaptures] in hostCaptures[$0] != nil }
        }
    }

    private(set) var all: [Link] = []
    /// Those whose host does not name one registry.
    private(set) var everyOpen: [Int] = []
    private var byHost: [UInt32: [Int]] = [:]
    private var openByRegistry: [UInt32: [Int]] = [:]

    init(_ packs: RegistryPacks) {
        for pack in packs.packs {
            for registry in pack.registries {
                for host in pack.hosts {
                    let link = Link(registry, host.form)
                    byHost[host.form.tailHash, default: []].append(all.count)
                    if !link.isDetermined {
                        everyOpen.append(all.count)
                        openByRegistry[registry.tailHash, default: []].append(all.count)
                    }
                    all.append(link)
                }
            }
        }
    }

    /// Those that lead to hosts with this tail.
    func to(_ tail: UInt32) -> [Int] { byHost[tail] ?? [] }

    /// Those that lead from registries with this tail to hosts that do not name one of them.
    func open(to tail: UInt32?) -> [Int] { tail.flatMap { openByRegistry[$0] } ?? [] }
}

extension AddressPattern {
    /// An address that the pattern matches, and no other pattern unless it matches all that this one does; `nil` for
    /// networks.
    fileprivate var sample: RegistryAddress? {
        let port: UInt16?
        switch self.port {
        // No address and no pattern has port 0.
        case .any: port = 0
        case .only(let only): port = only
        }
        switch host {
        case .exactly:
            guard let address = try? RegistryAddress(name) else { return nil }
            return RegistryAddress(host: name, port: port, kind: address.kind)
        case .oneLabelBelow: return RegistryAddress(host: "\(HostForm.anyLabel).\(name)", port: port, kind: .name)
        case .labelsBelow:
            return RegistryAddress(host: "\(HostForm.anyLabel).\(HostForm.anyLabel).\(name)", port: port, kind: .name)
        case .everything:
            return RegistryAddress(host: "\(HostForm.anyLabel).\(HostForm.anyLabel)", port: port, kind: .name)
        case .ipv4Network, .ipv6Network: return nil
        }
    }
}
