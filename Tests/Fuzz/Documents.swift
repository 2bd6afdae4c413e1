// JSON and policies.

func fuzzJSON(_ bytes: [UInt8]) {
    guard let value = try? StrictJSON.parse(bytes) else { return }
    for indentation in [nil, "  "] {
        let text = value.text(indentation: indentation)
        precondition((try? StrictJSON.parse(Array(text.utf8))) == value)
    }
}

func fuzzPolicy(_ bytes: [UInt8]) {
    guard let policy = try? AccessPolicy(json: bytes) else { return }
    // Whatever a policy holds, it was JSON with one reading.
    precondition((try? StrictJSON.parse(bytes)) != nil)
    _ = policy.warnings
    for rule in policy.rules {
        guard let address = try? RegistryAddress(rule.address.description) else { continue }
        for action in RegistryAction.allCases {
            let request = AccessRequest(action, address)
            let verdict = policy.verdict(on: request)
            precondition(policy.verdict(on: request) == verdict)
            if policy.isEnabled, !rule.isAllowed { precondition(verdict.outcome != .allow) }
        }
        checkReaching(address, policy)
    }
    if let rule = policy.verdict(on: AccessRequest(.pull, .dockerHub)).rule {
        precondition(policy.rules.indices.contains(rule))
    }
}

/// Who may pull or push at an address may reach it, and whom nothing allows may not.
private func checkReaching(_ address: RegistryAddress, _ policy: AccessPolicy) {
    let reaching = policy.verdict(onReaching: address)
    let isOpen = [RegistryAction.pull, .push].contains {
        policy.verdict(on: AccessRequest($0, address)).outcome == .allow
    }
    if isOpen, reaching.outcome != .allow {
        // Only where the registry is denied whose support host it is.
        precondition(reaching.reason == .deniedByRule && reaching.rule.map { !policy.rules[$0].isAllowed } == true)
    }
    if let rule = reaching.rule, reaching.outcome == .allow { precondition(policy.rules[rule].isAllowed) }
    if policy.isEnabled, policy.acceptsPlainHTTP(at: address) {
        precondition(policy.rules.contains { $0.isAllowed && $0.isInsecure && $0.address.matches(address) })
    }
}

func fuzzPacks(_ bytes: [UInt8]) {
    guard let packs = try? RegistryPacks(json: bytes) else { return }
    precondition((try? StrictJSON.parse(bytes)) != nil)
    // Nothing is open without a rule, and everything that a registry needs with a rule for each.
    let shut = AccessPolicy(version: 1, organization: "a", rules: [], packs: packs)
    for pack in packs.packs {
        for form in pack.registries {
            let registry = RegistryAddress.filled(form.filled({ "v\($0)" }, orElse: "x"))
            let rule = RegistryRule(address: AddressPattern(exactly: registry), isAllowed: true)
            let open = AccessPolicy(version: 1, organization: "a", rules: [rule], packs: packs)
            for host in packs.hosts(for: registry) {
                precondition(shut.verdict(onReaching: host).outcome == .deny)
                precondition(open.verdict(onReaching: host).outcome == .allow)
            }
        }
    }
}
