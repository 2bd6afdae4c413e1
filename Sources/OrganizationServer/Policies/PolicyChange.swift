import RegistryAccess
import SignedPolicy

extension Activity {
    /// What is recorded of policies and devices; the names of the first five are Docker Hub's.
    enum PolicyAction: String, Sendable, CaseIterable {
        case enabled = "registry_access.enabled"
        case disabled = "registry_access.disabled"
        case registryAdded = "registry_access.registry_added"
        case registryUpdated = "registry_access.registry_updated"
        case registryRemoved = "registry_access.registry_removed"
        case settingsUpdated = "registry_access.settings_updated"
        case policySaved = "registry_access.policy_saved"
        case policyRolledBack = "registry_access.policy_rolled_back"
        case rootUpdated = "registry_access.root_updated"
        case keyCreated = "registry_access.key_created"
        case deviceAdded = "device.add"
        case deviceRemoved = "device.remove"
        case devicesForgotten = "device.forget"
        case devicesFull = "device.limit_reached"
        case enrollmentTokenCreated = "enrollment_token.create"
        case enrollmentTokenDeleted = "enrollment_token.delete"
        case organizationSettingsUpdated = "settings.update"
    }

    /// Something that was done to a policy or a device.
    ///
    /// - Parameters:
    ///   - action: what was done.
    ///   - actor: who did it.
    ///   - name: what it was done to.
    ///   - data: what more there is to say.
    init(_ action: PolicyAction, by actor: String, name: String, data: [JSONMember] = []) {
        self.action = action.rawValue
        self.actor = actor
        self.name = name
        self.data = data
    }
}

/// A team was given another name.
struct TeamRename: Sendable {
    /// The version of the policy that was the newest then; that which was made by it if the team had something in addition.
    let version: Int
    let earlier: String
    let later: String
}

extension [String: [RegistryRule]] {
    /// What teams have in addition, by the names that they were given later.
    ///
    /// - Parameter renames: the changes of names, in their order.
    /// - Returns: the same under other names.
    func renamed(_ renames: some Sequence<TeamRename>) -> Self {
        var teams = self
        for rename in renames {
            if let rules = teams.removeValue(forKey: rename.earlier) { teams[rename.later] = rules }
        }
        return teams
    }
}

/// What changes from one version of an organization's policy to the next.
struct PolicyChange: Sendable {
    /// For everybody.
    let everybody: PolicyDifference
    /// For teams whose additions change, in the order of their names.
    let teams: [(name: String, difference: PolicyDifference)]

    /// Whether nothing changes.
    var isEmpty: Bool { everybody.isEmpty && teams.isEmpty }

    /// Compares; the version is no difference.
    ///
    /// - Parameters:
    ///   - before: the earlier one.
    ///   - after: the later one.
    init(from before: PolicyContent, to after: PolicyContent) {
        everybody = PolicyDifference(from: before.policy, to: after.policy)
        func policy(_ rules: [RegistryRule]?) -> AccessPolicy {
            AccessPolicy(version: 1, organization: before.policy.organization, rules: rules ?? [])
        }
        teams = Set(before.teams.keys).union(after.teams.keys).sorted().compactMap { team in
            let (old, new) = (before.teams[team], after.teams[team])
            guard old != new else { return nil }
            let difference = PolicyDifference(from: policy(old), to: policy(new))
            return difference.isEmpty ? nil : (team, difference)
        }
    }

    /// The most rules of each sort that are named one by one; a list of more is cut, and says so.
    static let mostNamed = 1000

    /// How much changes for everybody.
    var counts: JSONValue { everybody.counts }
    /// How much changes for each team for which something does.
    var teamCounts: JSONValue { .object(teams.map { JSONMember($0.name, $0.difference.counts) }) }

    /// The change for people and programs: whole counts, and of long lists the beginning.
    var json: JSONValue {
        var members = everybody.members
        members.append(
            JSONMember("teams", .object(teams.map { JSONMember($0.name, .object($0.difference.members)) }))
        )
        return .object(members)
    }

    /// What is written into the activity, at most ``mostNamed`` lines of each sort; the line of the save has whole counts.
    ///
    /// - Parameters:
    ///   - action: what was done.
    ///   - version: the version that was made.
    ///   - comment: why.
    ///   - actor: who did it.
    /// - Returns: the lines.
    func activities(
        _ action: Activity.PolicyAction,
        version: Int,
        comment: String,
        by actor: String
    ) -> [Activity] {
        let number = JSONMember("version", .number("\(version)"))
        let differences = [everybody] + teams.map(\.difference)
        let counts: [(String, Int)] = [
            ("added", differences.reduce(0) { $0 + $1.added.count }),
            ("updated", differences.reduce(0) { $0 + $1.changed.count }),
            ("removed", differences.reduce(0) { $0 + $1.removed.count }),
        ]
        var activities = [
            Activity(
                action,
                by: actor,
                name: "version \(version)",
                data: [number, JSONMember("comment", .string(comment))]
                    + counts.map { JSONMember($0.0, .number("\($0.1)")) }
            )
        ]
        for setting in everybody.settings {
            if setting.name == "enabled" {
                let action = setting.after == "true" ? Activity.PolicyAction.enabled : .disabled
                activities.append(Activity(action, by: actor, name: "enabled", data: [number]))
            } else {
                activities.append(
                    Activity(
                        .settingsUpdated,
                        by: actor,
                        name: setting.name,
                        data: [
                            number, JSONMember("before", .text(setting.before)),
                            JSONMember("after", .text(setting.after)),
                        ]
                    )
                )
            }
        }
        for (team, difference) in [(nil, everybody)] + teams.map({ (Optional($0.name), $0.difference) }) {
            let place = [number] + (team.map { [JSONMember("team", .string($0))] } ?? [])
            let kinds: [(Activity.PolicyAction, [RegistryRule])] = [
                (.registryRemoved, difference.removed), (.registryAdded, difference.added),
                (.registryUpdated, difference.changed.map(\.after)),
            ]
            for (action, rules) in kinds {
                for rule in rules.prefix(Self.mostNamed) {
                    var data = place + [JSONMember("allowed", .bool(rule.isAllowed))]
                    if let nickname = rule.nickname { data.append(JSONMember("friendly_name", .string(nickname))) }
                    activities.append(Activity(action, by: actor, name: rule.address.description, data: data))
                }
            }
        }
        return activities
    }
}

extension PolicyDifference {
    fileprivate var counts: JSONValue {
        .object([
            JSONMember("settings", .number("\(settings.count)")),
            JSONMember("removed", .number("\(removed.count)")),
            JSONMember("added", .number("\(added.count)")),
            JSONMember("changed", .number("\(changed.count)")),
        ])
    }

    /// The members of the object that stands for it.
    fileprivate var members: [JSONMember] {
        let most = PolicyChange.mostNamed
        func list(_ rules: [RegistryRule]) -> JSONValue { .array(rules.prefix(most).map(\.document)) }
        let isCut = [removed.count, added.count, changed.count].contains { $0 > most }
        return [
            JSONMember("counts", counts),
            JSONMember("cut", .bool(isCut)),
            JSONMember(
                "settings",
                .array(
                    settings.map {
                        .object([
                            JSONMember("name", .string($0.name)), JSONMember("before", .text($0.before)),
                            JSONMember("after", .text($0.after)),
                        ])
                    }
                )
            ),
            JSONMember("removed", list(removed)),
            JSONMember("added", list(added)),
            JSONMember(
                "changed",
                .array(
                    changed.prefix(most).map {
                        .object([JSONMember("before", $0.before.document), JSONMember("after", $0.after.document)])
                    }
                )
            ),
        ]
    }
}
