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
        /// Of which registries and hosts: the place in ``PackLinks/views``.
        let view: Int
        /// The values of the captures that the hosts have, a dot between them.
        let values: String
    }

    private let links: PackLinks
    private var projections: [Projection: Int32] = [:]
    private var supportHosts: PatternTable
    /// The first rule that opens each pattern of `supportHosts`.
    private var supportRules: [Int32] = []
    private let hasDenyingRules: Bool

    init(_ rules: [RegistryRule], _ index: RuleIndex, _ packs: RegistryPacks) {
        links = PackLinks(packs)
        hasDenyingRules = rules.contains { !$0.isAllowed }
        supportHosts = PatternTable(minimumCapacity: rules.reduce(0) { $0 + $1.supportHosts.count })
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
            for number in links.views(of: HostForm.tailHash(name)) {
                let view = links.views[number]
                guard view.registry.matches(name, &found) else { continue }
                note(view, number, pattern, found, rule, index)
            }
        case .oneLabelBelow, .labelsBelow:
            for (number, view) in links.views.enumerated() {
                guard view.registry.isBelow(name, oneLabel: pattern.host == .oneLabelBelow, &found) else { continue }
                // Otherwise asking with a label that no rule can name finds the rule.
                guard found.indices.contains(where: { !found[$0].isEmpty && !view.shared.contains($0) }) else {
                    continue
                }
                note(view, number, pattern, found, rule, index)
            }
        }
    }

    private mutating func note(
        _ view: PackLinks.View,
        _ number: Int,
        _ pattern: AddressPattern,
        _ found: [Range<Int>],
        _ rule: Int,
        _ index: RuleIndex
    ) {
        let key = Projection(view: number, values: Self.values(view.shared.map { found[$0] }, pattern.name))
        guard projections[key] == nil else { return }
        if hasDenyingRules {
            let texts = RegistryPacks.texts(found, of: pattern.name)
            let registry = view.registry.filled({ texts[$0] }, orElse: HostForm.anyLabel)
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
        forEachRegistry(sendingTo: address) { link, registry, found in
            if case .open(let rule) = index.standing(of: registry) {
                opening = rule
            } else if let view = link.view, !projections.isEmpty {
                let ranges = links.views[view].shared.map { link.hostCaptures[$0].map { found[$0] } ?? 0..<0 }
                let key = Projection(view: view, values: Self.values(ranges, address.host))
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
        forEachRegistry(sendingTo: address) { link, registry, _ in
            if link.namesRegistry, case .denied(let rule) = index.standing(of: registry) {
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
        _ body: (PackLinks.Link, RegistryAddress, [Range<Int>]) -> Bool
    ) {
        guard address.port == nil, !address.isIPAddress else { return }
        let host = address.host.utf8.span
        guard let tail = HostForm.tailHash(host) else { return }
        var found: [Range<Int>] = []
        for link in links.to(tail) {
            guard link.host.matches(host, &found) else { continue }
            let values = RegistryPacks.texts(found, of: address.host)
            let registry = link.registry.filled(
                { link.hostCaptures[$0].flatMap { values[$0] } },
                orElse: HostForm.anyLabel
            )
            guard body(link, .filled(registry), found) else { return }
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
        /// The place of the view in ``PackLinks/views``; `nil` if the host names one registry.
        var view: Int?
        /// Whether a host names one registry, and other registries of the form have other hosts.
        var namesRegistry: Bool { view == nil && !hostCaptures.isEmpty }

        init(_ registry: HostForm, _ host: HostForm) {
            self.registry = registry
            self.host = host
            hostCaptures = registry.captures.map { host.captures.firstIndex(of: $0) }
        }
    }

    /// What hosts that do not name one registry tell of it.
    struct View: Sendable, Equatable {
        let registry: HostForm
        /// The captures of the registry that they have.
        let shared: [Int]
    }

    private(set) var views: [View] = []
    private var byHost: [UInt32: [Link]] = [:]
    private var viewsByRegistry: [UInt32: [Int]] = [:]

    init(_ packs: RegistryPacks) {
        for pack in packs.packs {
            for registry in pack.registries {
                for host in pack.hosts {
                    var link = Link(registry, host.form)
                    let shared = link.hostCaptures.indices.filter { link.hostCaptures[$0] != nil }
                    if shared.count < link.hostCaptures.count {
                        link.view = place(of: View(registry: registry, shared: shared))
                    }
                    byHost[host.form.tailHash, default: []].append(link)
                }
            }
        }
    }

    private mutating func place(of view: View) -> Int {
        if let known = views.firstIndex(of: view) { return known }
        views.append(view)
        viewsByRegistry[view.registry.tailHash, default: []].append(views.count - 1)
        return views.count - 1
    }

    /// Those that lead to hosts with this tail.
    func to(_ tail: UInt32) -> [Link] { byHost[tail] ?? [] }

    /// The views of registries with this tail.
    func views(of tail: UInt32?) -> [Int] { tail.flatMap { viewsByRegistry[$0] } ?? [] }
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
