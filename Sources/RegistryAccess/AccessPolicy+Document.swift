extension AccessPolicy {
    /// The policy as the document that ``init(json:packs:)`` reads; what a document need not say is said only if it is not
    /// the default, but for `enabled`, `mode`, `imports` and `unmanagedBuilders`, which are always there.
    public var document: JSONValue {
        var members = [
            JSONMember("version", .number("\(version)")),
            JSONMember("organization", .string(organization)),
            JSONMember("enabled", .bool(isEnabled)),
            JSONMember("mode", .string(mode.rawValue)),
        ]
        if let contact { members.append(JSONMember("contact", .string(contact))) }
        members.append(JSONMember("imports", .string(imports.rawValue)))
        members.append(JSONMember("unmanagedBuilders", .string(unmanagedBuilders.rawValue)))
        members.append(JSONMember("registries", .array(rules.map(\.document))))
        return .object(members)
    }
}

extension RegistryRule {
    /// The rule as it stands in a policy document.
    public var document: JSONValue {
        var members = [JSONMember("address", .string(address.description))]
        if let nickname { members.append(JSONMember("nickname", .string(nickname))) }
        members.append(JSONMember("allowed", .bool(isAllowed)))
        if actions != Self.everyAction {
            let names = RegistryAction.allCases.filter(actions.contains).map(\.rawValue)
            members.append(JSONMember("actions", .texts(names)))
        }
        if !repositories.isEmpty {
            members.append(JSONMember("repositories", .texts(repositories.map(\.description))))
        }
        if isInsecure { members.append(JSONMember("insecure", .bool(true))) }
        if !supportHosts.isEmpty {
            members.append(JSONMember("supportHosts", .texts(supportHosts.map(\.description))))
        }
        if isBroadAcknowledged { members.append(JSONMember("acknowledgeBroad", .bool(true))) }
        return .object(members)
    }
}
