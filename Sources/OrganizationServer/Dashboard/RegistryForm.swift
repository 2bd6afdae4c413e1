import RegistryAccess

/// What somebody types about a registry.
struct RegistryForm {
    var address = ""
    var nickname = ""
    var isAllowed = true
    var actions = Set(RegistryAction.allCases)
    /// One on each line.
    var repositories = ""
    /// One on each line.
    var supportHosts = ""
    var isInsecure = false
    var isBroadAcknowledged = false
    /// What is wrong, by the name of the field; `form` is about all of it.
    var faults: [String: String] = [:]
    /// Why the address needs a confirmation.
    var broadness: String?

    /// An empty form.
    init() {}

    /// What a rule says.
    init(_ rule: RegistryRule) {
        address = rule.address.description
        nickname = rule.nickname ?? ""
        isAllowed = rule.isAllowed
        actions = rule.actions
        repositories = rule.repositories.map(\.description).joined(separator: "\n")
        supportHosts = rule.supportHosts.map(\.description).joined(separator: "\n")
        isInsecure = rule.isInsecure
        isBroadAcknowledged = rule.isBroadAcknowledged
    }

    /// What was typed.
    init(fields: [String: String]) {
        address = Self.trimmed(fields["address"] ?? "")
        nickname = Self.trimmed(fields["nickname"] ?? "")
        isAllowed = fields["allowed"] != "false"
        actions = Set(RegistryAction.allCases.filter { fields[$0.rawValue] == "on" })
        repositories = fields["repositories"] ?? ""
        supportHosts = fields["supportHosts"] ?? ""
        isInsecure = fields["insecure"] == "on"
        isBroadAcknowledged = fields["acknowledgeBroad"] == "on"
    }

    /// The rule, if all is in order; else ``faults`` says what is not.
    ///
    /// - Parameters:
    ///   - policy: the policy that it is to be in.
    ///   - place: which of its rules it replaces.
    /// - Returns: the rule as a policy document has it.
    mutating func rule(in policy: AccessPolicy, replacing place: Int?) -> RegistryRule? {
        faults = [:]
        var pattern: AddressPattern?
        do throws(InvalidAddressPattern) {
            pattern = try AddressPattern(address)
        } catch {
            faults["address"] =
                address.isEmpty
                ? "Enter the address of the registry, for example ghcr.io."
                : Dashboard.sentence("\(error)")
        }
        var repositories: [RepositoryPattern] = []
        for line in Self.lines(self.repositories) {
            do throws(InvalidRepositoryPattern) {
                repositories.append(try RepositoryPattern(line))
            } catch {
                faults["repositories"] = Dashboard.sentence("\"\(line)\": \(error)")
            }
        }
        var hosts: [AddressPattern] = []
        for line in Self.lines(supportHosts) {
            do throws(InvalidAddressPattern) {
                hosts.append(try AddressPattern(line))
            } catch {
                faults["supportHosts"] = Dashboard.sentence("\"\(line)\": \(error)")
            }
        }
        if actions.isEmpty { faults["actions"] = "Choose at least one action." }
        guard let pattern, faults.isEmpty else { return nil }
        var rule = RegistryRule(
            address: pattern,
            nickname: nickname.isEmpty ? nil : nickname,
            isAllowed: isAllowed,
            actions: actions,
            repositories: repositories,
            isInsecure: isInsecure,
            supportHosts: hosts
        )
        broadness = Self.broadness(of: rule)
        if broadness != nil {
            guard isBroadAcknowledged else {
                faults["acknowledgeBroad"] = "Confirm that this is meant, or make the address narrower."
                return nil
            }
            rule = rule.with(isBroadAcknowledged: true)
        }
        if let fault = Self.fault(of: rule) {
            faults[fault.contains("nickname") ? "nickname" : "form"] = Dashboard.sentence(fault)
            return nil
        }
        let isThere = policy.rules.enumerated().contains { offset, other in
            offset != place && other.address == pattern && other.actions == rule.actions
                && other.repositories == rule.repositories
        }
        if isThere {
            faults["address"] =
                "There is an entry for this address already. Edit that one, or limit this one to other actions "
                + "or repositories."
            return nil
        }
        return rule
    }

    /// Why a rule would need a confirmation.
    static func broadness(of rule: RegistryRule) -> String? {
        rule.with(isBroadAcknowledged: false).unacknowledgedBroadPattern.map(Dashboard.sentence)
    }

    /// What the reader of policy documents says of a rule.
    private static func fault(of rule: RegistryRule) -> String? {
        do throws(InvalidJSON) {
            var scanner = JSONScanner(Array(JSONValue.array([rule.document]).text().utf8), limits: StrictJSON.Limits())
            _ = try PolicyReader.rules(&scanner)
            return nil
        } catch {
            return error.message
        }
    }

    private static func lines(_ text: String) -> [String] {
        text.split(whereSeparator: \.isNewline).map { trimmed(String($0)) }.filter { !$0.isEmpty }
    }

    private static func trimmed(_ text: String) -> String {
        var text = text[...]
        while let first = text.first, first.isWhitespace { text = text.dropFirst() }
        while let last = text.last, last.isWhitespace { text = text.dropLast() }
        return String(text)
    }

    /// What the template names.
    var content: [String: Any] {
        var content: [String: Any] = [
            "address": address, "nickname": nickname, "isAllowed": isAllowed, "repositories": repositories,
            "supportHosts": supportHosts, "isInsecure": isInsecure, "isBroadAcknowledged": isBroadAcknowledged,
            "hasFaults": !faults.isEmpty,
            "actions": RegistryAction.allCases.map { action in
                ["name": action.rawValue, "title": Self.title(of: action), "isOn": actions.contains(action)]
                    as [String: Any]
            },
        ]
        content["broadness"] = broadness
        content["showsMore"] =
            !repositories.isEmpty || !supportHosts.isEmpty || isInsecure
            || actions.count < RegistryAction.allCases.count
            || ["repositories", "supportHosts", "actions"].contains { faults[$0] != nil }
        for (name, fault) in faults { content["\(name)Fault"] = fault }
        return content
    }

    private static func title(of action: RegistryAction) -> String {
        switch action {
        case .pull: "Pull"
        case .push: "Push"
        case .login: "Sign in"
        }
    }

    /// Well-known registries to pick from.
    static let suggestions: [[String: String]] = RegistryPacks.embedded.packs.flatMap { pack in
        pack.registryAddresses.map { ["address": $0, "name": pack.name] }
    }
}

extension RegistryRule {
    /// The rule with another word on whether it allows.
    func with(isAllowed: Bool? = nil, isBroadAcknowledged: Bool? = nil) -> RegistryRule {
        RegistryRule(
            address: address,
            nickname: nickname,
            isAllowed: isAllowed ?? self.isAllowed,
            actions: actions,
            repositories: repositories,
            isInsecure: isInsecure,
            supportHosts: supportHosts,
            isBroadAcknowledged: isBroadAcknowledged ?? self.isBroadAcknowledged
        )
    }
}
