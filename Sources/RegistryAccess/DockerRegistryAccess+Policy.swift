extension DockerRegistryAccess {
    /// The policy that a document of Docker's stands for.
    ///
    /// What the document says otherwise than ``export(_:)`` does of the policy in force changes, and nothing else: a registry
    /// that it changes or adds is what it says, and the rules of one that it leaves out are gone. What the export does not
    /// show stays: the mode, the contact and the other settings, the details of the registries that are shown, and the rules
    /// that are left out of it, whether they allow or deny. So a document that was fetched and is put back changes nothing.
    ///
    /// A denial that the document leaves out stays as long as something would be open without it: a rule that is not shown,
    /// or what a team has in addition, may allow what only the denial shuts. So nothing becomes allowed that was not, unless
    /// the document allows it.
    ///
    /// - Parameters:
    ///   - current: the policy in force.
    ///   - teams: what teams have in addition.
    /// - Returns: the policy that is to be.
    public func policy(after current: AccessPolicy, teams: [String: [RegistryRule]]) -> AccessPolicy {
        let shown = Self.shown(of: current)
        let leftOut = Set(current.rules.lazy.filter { !$0.isAllowed && shown[$0.address] == false }.map(\.address))
            .subtracting(self.rules.lazy.map(\.address))
        var rules = rules(after: current, shown, denying: [])
        if !leftOut.isEmpty {
            let additions = teams.values.joined().filter(\.isAllowed)
            let needed = current.denialsNeeded(of: leftOut, where: rules + additions)
            rules = self.rules(after: current, shown, denying: needed)
        }
        return AccessPolicy(
            version: current.version,
            organization: current.organization,
            isEnabled: isEnabled,
            mode: current.mode,
            contact: current.contact,
            imports: current.imports,
            unmanagedBuilders: current.unmanagedBuilders,
            rules: rules,
            packs: current.packs
        )
    }

    /// The rules that are to be, those in force in their order first.
    ///
    /// - Parameters:
    ///   - current: the policy in force.
    ///   - shown: what is shown of it.
    ///   - denied: the registries whose denials stay if the document leaves them out.
    /// - Returns: the rules.
    private func rules(
        after current: AccessPolicy,
        _ shown: [AddressPattern: Bool],
        denying denied: Set<AddressPattern>
    ) -> [RegistryRule] {
        let dockerHub = AddressPattern(exactly: .dockerHub)
        let given = Dictionary(grouping: self.rules, by: \.address)
        let changed = given.filter { address, entries in
            // Docker Hub is in every document, also where no rule is shown.
            let before = shown[address] ?? (address == dockerHub ? false : nil)
            return entries.allSatisfy(\.isAllowed) != before
        }
        let names = Dictionary(grouping: current.rules, by: \.address).mapValues {
            $0.lazy.compactMap(\.nickname).first
        }
        var rules: [RegistryRule] = []
        var placed: Set<AddressPattern> = []
        for rule in current.rules {
            if let entries = changed[rule.address] {
                if placed.insert(rule.address).inserted { rules += entries }
            } else if let entries = given[rule.address] {
                // Docker Hub has no name of its own there.
                let isNamed = rule.address != dockerHub && rule.nickname == names[rule.address, default: nil]
                rules.append(rule.changed(by: entries, isNamed: isNamed))
            } else if shown[rule.address] == nil || !rule.isAllowed && denied.contains(rule.address) {
                rules.append(rule)
            }
        }
        return rules + self.rules.filter { changed[$0.address] != nil && !placed.contains($0.address) }
    }
}

extension AccessPolicy {
    /// Where something would be open without a denial of this policy.
    ///
    /// - Parameters:
    ///   - registries: those that are denied.
    ///   - rules: every rule that there would be without the denials.
    /// - Returns: those of the registries that must stay denied.
    fileprivate func denialsNeeded(
        of registries: Set<AddressPattern>,
        where rules: [RegistryRule]
    ) -> Set<AddressPattern> {
        let open = AccessPolicy(version: version, organization: organization, rules: rules, packs: packs)
        let hasPatterns = rules.contains { $0.isAllowed && $0.address.host != .exactly }
        return registries.filter { pattern in
            guard let address = try? RegistryAddress(pattern.description) else { return true }
            if case .open = open.index.standing(of: address) { return true }
            if open.verdict(onReaching: address).isAllowed { return true }
            // The denial also shuts the hosts that only this registry has. A pattern may speak of some of them only.
            return packs.hosts(for: address).contains { host in
                egress.ruleDenyingRegistry(of: host.address, index) != nil
                    && (hasPatterns || open.verdict(onReaching: host).isAllowed)
            }
        }
    }
}

extension RegistryRule {
    /// The rule where a document has entries for it that say no more than new details.
    fileprivate func changed(by entries: [RegistryRule], isNamed: Bool) -> RegistryRule {
        // The address as its name is no name, here as there.
        let hasName = nickname.map { !$0.isEmpty && $0 != address.description } ?? false
        let name = entries.lazy.compactMap(\.nickname).first ?? (hasName ? nil : nickname)
        return RegistryRule(
            address: address,
            nickname: isNamed ? name : nickname,
            isAllowed: isAllowed,
            actions: actions,
            repositories: repositories,
            isInsecure: isInsecure || isAllowed && entries.contains(where: \.isInsecure),
            supportHosts: supportHosts,
            isBroadAcknowledged: isBroadAcknowledged
        )
    }
}
