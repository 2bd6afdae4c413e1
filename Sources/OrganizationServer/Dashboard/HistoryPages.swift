import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// The versions of the policy, what each changed, and the way back to one.
    func addHistoryPages(_ dashboard: Dashboard) {
        let pages = HistoryPages(dashboard: dashboard)
        dashboard.get(self, "registry-access/history", .readPolicy) { try await pages.list($0) }
        dashboard.get(self, "registry-access/history/:version", .readPolicy) { try await pages.version($0) }
        dashboard.post(self, "registry-access/history/:version/roll-back", .editPolicy) {
            try await pages.rollBack($0)
        }
    }
}

struct HistoryPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    private func staged(_ visit: Dashboard.Visit) async throws -> StagedPolicy {
        try await dashboard.staged.staged(of: visit.organization, withDraft: visit.may(.editPolicy))
    }

    fileprivate func list(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let staged = try await staged(visit)
        let before = try visit.request.queryNumber("before")
        let versions = try await services.store.policyVersions(
            of: visit.organization,
            before: before,
            atMost: Paging.size
        )
        let base = visit.address("registry-access/history")
        var content = RegistryAccessPages.head(staged, visit, "history")
        content["versions"] = versions.map { version -> [String: Any] in
            var row: [String: Any] = [
                "version": version.version, "time": version.time.description, "author": version.author,
                "counts": Self.summary(of: version),
                "isNewest": version.version == staged.inForce.version, "address": "\(base)/\(version.version)",
            ]
            row["comment"] = version.comment.isEmpty ? nil : version.comment
            return row
        }
        content["newestAddress"] = before == nil ? nil : base
        if versions.count == Paging.size, let last = versions.last, last.version > 1 {
            content["older"] = "\(base)?before=\(last.version)"
        }
        return .page(Dashboard.Page(template: "history", title: "Registry Access history", content: content))
    }

    /// What a version changed for everybody and for teams, in a line.
    private static func summary(of version: PolicyVersion) -> String {
        func words(_ counts: JSONValue?) -> String {
            (counts?.members ?? []).compactMap { member -> String? in
                guard case .number(let text) = member.value, let count = WholeNumber.read(text), count > 0 else {
                    return nil
                }
                return Dashboard.count(count, member.name == "settings" ? "setting" : member.name, member.name)
            }.joined(separator: ", ")
        }
        let json = version.json(withDifference: false)
        let teams = json.value(named: "teamCounts")?.members ?? []
        var parts = [words(json.value(named: "counts"))].filter { !$0.isEmpty }
        parts += teams.prefix(3).map { "team \($0.name): \(words($0.value))" }
        if teams.count > 3 { parts.append(Dashboard.count(teams.count - 3, "more team", "more teams")) }
        return parts.isEmpty ? "nothing" : parts.joined(separator: "; ")
    }

    fileprivate func version(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await page(visit)
    }

    private func page(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let (number, document) = try await document(visit)
        let staged = try await staged(visit)
        guard
            let version = try await services.store.policyVersions(
                of: visit.organization,
                before: number + 1,
                atMost: 1
            ).first
        else { throw Self.noVersion }
        let nothing = AccessPolicy(version: 1, organization: visit.organization, rules: [])
        var before = PolicyContent(policy: nothing, teams: [:])
        if number > 1, let document = try await services.store.policyDocument(number - 1, of: visit.organization) {
            before = PolicyContent(document)
            let renames = try await services.store.teamRenames(since: number - 1, in: visit.organization)
            before.teams = before.teams.renamed(renames.prefix { $0.version == number })
        }
        var content = RegistryAccessPages.head(staged, visit, "history")
        content["number"] = number
        content["newest"] = staged.inForce.version
        content["isNewest"] = number == staged.inForce.version
        content["time"] = version.time.description
        content["author"] = version.author
        content["comment"] = version.comment.isEmpty ? nil : version.comment
        content["digest"] = "sha256:\(version.digest)"
        content["registries"] = Dashboard.count(document.policy.rules.count, "registry", "registries")
        let ofTeams = document.teams.values.reduce(0) { $0 + $1.count }
        content["teamRegistries"] = ofTeams == 0 ? nil : Dashboard.count(ofTeams, "registry", "registries")
        let change = PolicyChange(from: before, to: PolicyContent(document))
        content["difference"] = DifferenceContent.content(change)
        if number != staged.inForce.version {
            var earlier = try await services.publisher.content(ofRollingBackTo: document, in: visit.organization)
            let teams = Set(try await services.store.teamNames(of: visit.organization))
            let gone = earlier.teams.keys.filter { !teams.contains($0) }.sorted()
            earlier.teams = earlier.teams.filter { teams.contains($0.key) }
            let back = PolicyChange(from: PolicyContent(staged.inForce), to: earlier)
            content["back"] = ["difference": DifferenceContent.content(back)]
            content["goneTeams"] = gone.isEmpty ? nil : gone.joined(separator: ", ")
            content["lockOut"] = services.publisher.lockOut(by: earlier).map(Dashboard.sentence)
            content["acknowledgesLockOut"] = visit.fields["acknowledgeLockOut"] == "on"
        }
        content.merge(more) { _, new in new }
        return .page(Dashboard.Page(template: "version", title: "Version \(number)", content: content, status: status))
    }

    private static var noVersion: Problem {
        Problem(.notFound, .notFound, "there is no such version of the policy")
    }

    private func document(_ visit: Dashboard.Visit) async throws -> (number: Int, document: PolicyDocument) {
        guard let number = WholeNumber.read(try visit.context.parameters.require("version")), number >= 1,
            let document = try await services.store.policyDocument(number, of: visit.organization)
        else { throw Self.noVersion }
        return (number, document)
    }

    fileprivate func rollBack(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let (number, document) = try await document(visit)
        let seen = try visit.number("policy")
        if let fault = try await dashboard.confirm(visit) {
            return try await page(visit, ["passwordFault": fault], .forbidden)
        }
        do {
            let result = try await services.publisher.rollBack(
                to: document,
                in: visit.organization,
                by: visit.person.name,
                expecting: seen,
                acknowledgingLockOut: visit.fields["acknowledgeLockOut"] == "on"
            )
            let message = "Version \(result.document.version) says what version \(number) said, and is applied."
            return .see(visit.address("registry-access/history"), message: message)
        } catch let problem as Problem where problem.code == .changedMeanwhile {
            let conflict =
                "Somebody has saved another version since you looked at this one, "
                + "so nothing was done. This is how it is now."
            return try await page(visit, ["conflict": conflict], .preconditionFailed)
        } catch let problem as Problem where problem.code == .locksOut {
            return try await page(
                visit,
                ["lockOut": Dashboard.sentence(problem.detail), "lockOutFault": true],
                .unprocessableContent
            )
        }
    }
}
