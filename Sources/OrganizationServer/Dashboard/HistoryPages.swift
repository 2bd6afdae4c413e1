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
            let counts = version.json(withDifference: false).value(named: "counts")?.members ?? []
            let words = counts.compactMap { member -> String? in
                guard case .number(let count) = member.value, count != "0" else { return nil }
                return "\(count) \(member.name)"
            }
            var row: [String: Any] = [
                "version": version.version, "time": version.time.description, "author": version.author,
                "counts": words.isEmpty ? "nothing for everybody" : words.joined(separator: ", "),
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
        var before = AccessPolicy(version: 1, organization: visit.organization, rules: [])
        if number > 1, let document = try await services.store.policyDocument(number - 1, of: visit.organization) {
            before = document.policy
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
        content["difference"] = DifferenceContent.content(PolicyDifference(from: before, to: document.policy))
        if number != staged.inForce.version {
            let earlier = try await services.publisher.content(ofRollingBackTo: document, in: visit.organization)
            let back = PolicyDifference(from: staged.inForce.policy, to: earlier.policy)
            content["back"] = ["difference": DifferenceContent.content(back)]
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
            return try await page(visit, ["lockOut": Dashboard.sentence(problem.detail)], .unprocessableContent)
        }
    }
}
