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
    }
    if let rule = policy.verdict(on: AccessRequest(.pull, .dockerHub)).rule {
        precondition(policy.rules.indices.contains(rule))
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
