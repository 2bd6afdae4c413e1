/// Suffixes under which anybody can have a host: a wildcard over one of them opens the policy to strangers.
///
/// A public suffix of one label (`com`) is recognized by its form. Those of more labels and the shared services are a
/// list of the common ones, not the whole public suffix list.
enum BroadPatterns {
    /// Suffixes of the domain name system under which names are sold.
    private static let publicSuffixes: Set<String> = [
        "ac.uk", "co.uk", "gov.uk", "ltd.uk", "me.uk", "net.uk", "org.uk", "plc.uk", "com.au", "net.au", "org.au",
        "co.nz", "net.nz", "org.nz", "co.jp", "ne.jp", "or.jp", "co.kr", "or.kr", "com.br", "net.br", "org.br",
        "com.cn", "net.cn", "org.cn", "com.mx", "com.tr", "com.tw", "com.hk", "com.sg", "com.my", "co.in", "net.in",
        "org.in", "co.za", "org.za", "com.ar", "com.co", "com.pl", "net.pl", "org.pl", "com.ua", "co.il", "org.il",
        "co.id", "co.th", "com.vn", "com.ph", "com.pk", "com.eg", "com.sa", "com.ng", "eu.org", "uk.com", "us.com",
    ]

    /// Services that rent hosts or buckets below the suffix to anybody.
    private static let sharedServices: Set<String> = [
        "amazonaws.com", "amazonaws.com.cn", "s3.amazonaws.com", "cloudfront.net", "elasticbeanstalk.com",
        "awsapprunner.com", "on.aws", "googleapis.com", "storage.googleapis.com", "googleusercontent.com",
        "appspot.com", "run.app", "web.app", "pkg.dev", "blob.core.windows.net", "core.windows.net", "windows.net",
        "azurecr.io", "azurewebsites.net", "azureedge.net", "azurefd.net", "cloudapp.net", "cloudapp.azure.com",
        "cloudflarestorage.com", "r2.cloudflarestorage.com", "r2.dev", "workers.dev", "pages.dev", "github.io",
        "githubusercontent.com", "gitlab.io", "digitaloceanspaces.com", "ondigitalocean.app", "herokuapp.com",
        "vercel.app", "netlify.app", "fly.dev", "onrender.com", "railway.app", "ngrok.io", "ngrok.app",
        "ngrok-free.app", "trycloudflare.com", "loca.lt", "backblazeb2.com", "wasabisys.com", "linodeobjects.com",
        "scw.cloud", "ovh.net", "oraclecloud.com", "fastly.net", "akamaihd.net", "akamaized.net", "b-cdn.net",
        "duckdns.org", "nip.io", "sslip.io", "xip.io", "dyndns.org", "no-ip.org", "ddns.net", "readthedocs.io",
    ]

    /// Hosts that serve everybody's content under one name, so even an exact rule opens them to strangers.
    private static let sharedHosts: Set<String> = [
        "s3.amazonaws.com", "storage.googleapis.com", "raw.githubusercontent.com", "objects.githubusercontent.com",
    ]

    /// Why a suffix is too broad for a wildcard, in words.
    static func reason(suffix: String) -> String? {
        if !suffix.utf8.contains(ASCII.dot) { return "names below \"\(suffix)\" are sold to anybody" }
        if publicSuffixes.contains(suffix) { return "names below \"\(suffix)\" are sold to anybody" }
        if sharedServices.contains(suffix) || isRegionalStorage(suffix) {
            return "anybody can rent a host below \"\(suffix)\""
        }
        return nil
    }

    /// Why a host is shared with strangers, in words.
    static func reason(host: String) -> String? {
        // All of these end in ".com", and few hosts of a long policy do.
        guard host.utf8.last == UInt8(ascii: "m"), sharedHosts.contains(host) || isRegionalStorage(host) else {
            return nil
        }
        return "\"\(host)\" serves what anybody stores there"
    }

    /// `s3.eu-west-1.amazonaws.com` and `s3.dualstack.eu-west-1.amazonaws.com`.
    private static func isRegionalStorage(_ host: String) -> Bool {
        (host.hasPrefix("s3.") || host.hasPrefix("s3-")) && host.hasSuffix(".amazonaws.com")
    }
}

extension AddressPattern {
    /// Why this pattern opens the policy to strangers, in words; `nil` if it does not.
    var broadness: String? {
        switch host {
        case .oneLabelBelow, .labelsBelow: BroadPatterns.reason(suffix: name)
        case .exactly: BroadPatterns.reason(host: name)
        case .everything: "it matches every registry"
        case .ipv4Network(_, let prefix): prefix < 8 ? "it matches a large part of the internet" : nil
        case .ipv6Network(_, _, let prefix): prefix < 19 ? "it matches a large part of the internet" : nil
        }
    }
}

extension RegistryRule {
    /// Why the rule needs an acknowledgement that it lacks.
    ///
    /// A rule that denies may be as broad as it likes.
    package var unacknowledgedBroadPattern: String? {
        guard isAllowed, !isBroadAcknowledged else { return nil }
        if let reason = address.broadness { return "\"\(address)\" is too broad: \(reason)" }
        for pattern in supportHosts {
            if let reason = pattern.broadness { return "\"\(pattern)\" is too broad: \(reason)" }
        }
        return nil
    }
}
