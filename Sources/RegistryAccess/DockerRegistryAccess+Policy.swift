extension DockerRegistryAccess {
    /// The policy that a document of Docker's stands for.
    ///
    /// The document says all that is allowed. What it does not know stays as it is: the mode, the contact and the other
    /// settings; the details of a registry that it names as ``export(_:)`` does; and what is denied in ways that it cannot
    /// say. So a document that was fetched and is put back changes nothing that it shows, and a denial is never lost on the
    /// way.
    ///
    /// - Parameter current: the policy in force.
    /// - Returns: the policy that is to be.
    public func policy(after current: AccessPolicy) -> AccessPolicy {
        let shown = Self.standing(of: Self.export(current).document)
        let byAddress = Dictionary(grouping: current.rules, by: \.address)
        var rules: [RegistryRule] = []
        var named: Set<AddressPattern> = []
        for rule in self.rules where named.insert(rule.address).inserted {
            let before = byAddress[rule.address] ?? []
            guard shown[rule.address.description] == rule.isAllowed, !before.isEmpty else {
                rules += self.rules.filter { $0.address == rule.address }
                continue
            }
            rules += before.map { old in
                // Docker Hub has no name of its own there.
                let isTheOne =
                    before.count == 1 && rule.nickname != nil && rule.nickname != old.nickname
                    && rule.address.description != RegistryAddress.dockerHub.description
                return isTheOne ? old.called(rule.nickname) : old
            }
        }
        rules += current.rules.filter { rule in
            !rule.isAllowed && !named.contains(rule.address) && shown[rule.address.description] == nil
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

    /// What an exported document says of each registry.
    private static func standing(of document: JSONValue) -> [String: Bool] {
        var standing: [String: Bool] = [:]
        for registry in document.value(named: "custom_registries")?.elements ?? [] {
            guard let address = registry.value(named: "address")?.text else { continue }
            standing[address] = registry.value(named: "allowed") == .bool(true)
        }
        for registry in document.value(named: "standard_registries")?.elements ?? [] {
            standing["docker.io"] = registry.value(named: "allowed") == .bool(true)
        }
        return standing
    }
}

extension RegistryRule {
    fileprivate func called(_ nickname: String?) -> RegistryRule {
        RegistryRule(
            address: address,
            nickname: nickname,
            isAllowed: isAllowed,
            actions: actions,
            repositories: repositories,
            isInsecure: isInsecure,
            supportHosts: supportHosts,
            isBroadAcknowledged: isBroadAcknowledged
        )
    }
}
