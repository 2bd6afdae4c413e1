import LocalInstallation
import RegistryAccess

/// Says whose credentials may be used on this machine.
struct RegistryGate {
    let policy: PolicyInForce

    /// Why the credentials of a server are withheld.
    ///
    /// - Parameter serverURL: the server as Docker names it.
    /// - Returns: the refusal, or `nil` if nothing speaks against it.
    func refusal(of serverURL: String) -> Refusal? {
        if case .unmanaged = policy { return nil }
        do throws(InvalidRegistryAddress) {
            let address = try RegistryAddress(serverURL: serverURL)
            return refusal(policy.verdict(on: AccessRequest(.login, address)), .registry(address, .noRule))
        } catch {
            return refusal(policy.verdict(refusing: .notInspected), .notInspected("\(error)"))
        }
    }

    private func refusal(_ verdict: Verdict, _ subject: Refusal.Subject) -> Refusal? {
        guard !verdict.isAllowed else { return nil }
        let subject: Refusal.Subject =
            switch (verdict.reason, subject) {
            case (.policyUnavailable, _): .policyUnavailable
            case (let reason, .registry(let address, _)): .registry(address, reason)
            default: subject
            }
        return Refusal(subject, id: DecisionID(), policy: policy.policy)
    }
}
