//! Invented customers of the demo shop. Addresses are from the ranges reserved for documentation (RFC 2606, RFC 3849,
//! RFC 5737), so that none belongs to a real person.

use super::random::mix_bits;

const FIRST_NAMES: [&str; 48] = [
    "Ada",
    "Bilal",
    "Chiara",
    "Dmitri",
    "Esra",
    "Femi",
    "Greta",
    "Hiro",
    "Ines",
    "Jonas",
    "Kavya",
    "Leila",
    "Marek",
    "Nadia",
    "Oskar",
    "Priya",
    "Quentin",
    "Rosa",
    "Samir",
    "Tove",
    "Umar",
    "Vera",
    "Wanda",
    "Ximena",
    "Yusuf",
    "Zofia",
    "Amara",
    "Bruno",
    "Carmen",
    "Daniel",
    "Elena",
    "Farid",
    "Gabriel",
    "Hanna",
    "Ivan",
    "Julia",
    "Kenji",
    "Lucia",
    "Mateo",
    "Noor",
    "Olga",
    "Pedro",
    "Rania",
    "Stefan",
    "Tomas",
    "Valentina",
    "Wei",
    "Yara",
];
const LAST_NAMES: [&str; 48] = [
    "Abara",
    "Brandt",
    "Castillo",
    "Dahl",
    "Eriksen",
    "Farouk",
    "Gruber",
    "Haddad",
    "Ito",
    "Jansen",
    "Kowalska",
    "Lindqvist",
    "Moreau",
    "Novak",
    "Okafor",
    "Petrov",
    "Quiroga",
    "Rossi",
    "Santos",
    "Tanaka",
    "Ueda",
    "Varga",
    "Weber",
    "Xu",
    "Yilmaz",
    "Zeller",
    "Almeida",
    "Berg",
    "Chandra",
    "Duarte",
    "Endo",
    "Fischer",
    "Garcia",
    "Horvat",
    "Ivanova",
    "Johansson",
    "Keller",
    "Lombardi",
    "Mbeki",
    "Nguyen",
    "Olsen",
    "Patel",
    "Rahman",
    "Silva",
    "Torres",
    "Usman",
    "Vega",
    "Wagner",
];
const MAIL_DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];
/// Documentation ranges of RFC 5737.
const IPV4_NETWORKS: [&str; 3] = ["192.0.2", "198.51.100", "203.0.113"];
const USER_AGENTS: [&str; 10] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) \
     AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) \
     AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) \
     AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) \
     AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) \
     AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) \
     AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) \
     AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) \
     AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
];

/// Number of different names.
pub(crate) const MAX_PEOPLE: u64 = 48 * 48;

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DemoPerson {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) email: String,
}

/// A browser of a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DemoDevice {
    pub(crate) ip_address: String,
    pub(crate) user_agent: &'static str,
}

/// Returns the id of a customer.
pub(crate) fn customer_id(number: u64) -> String {
    format!("u{number:04}")
}

/// Returns a customer. The first [`MAX_PEOPLE`] have different names.
pub(crate) fn invent_customer(number: u64) -> DemoPerson {
    let (first, turn) = (number % 48, number / 48);
    // Shifted with each turn: the same first name never meets the same last name again.
    let (first, last) = (FIRST_NAMES[to_index(first)], LAST_NAMES[to_index((first * 7 + turn) % 48)]);
    let domain = MAIL_DOMAINS[to_index(mix_bits(number) % 3)];
    DemoPerson {
        id: customer_id(number),
        name: format!("{first} {last}"),
        email: format!("{}.{}@{domain}", first.to_lowercase(), last.to_lowercase()),
    }
}

/// Returns a browser of a customer, who keeps it: `device` counts the customer's browsers.
pub(crate) fn invent_device(customer: u64, device: u64) -> DemoDevice {
    let number = mix_bits(customer * 8 + device + 1);
    let user_agent = USER_AGENTS[to_index(number % USER_AGENTS.len() as u64)];
    // Browsers of one customer are often behind the same connection.
    let place = mix_bits(customer * 8 + device / 2 + 7);
    let ip_address = if place.is_multiple_of(5) {
        format!(
            "2001:db8:{:x}:{:x}::{:x}",
            place >> 16 & 0xffff,
            place >> 32 & 0xffff,
            (place >> 48 & 0xfff) + 1
        )
    } else {
        format!("{}.{}", IPV4_NETWORKS[to_index(place % 3)], (place >> 8) % 254 + 1)
    };
    DemoDevice { ip_address, user_agent }
}

/// Returns a number below the length of a list as an index.
fn to_index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::IpAddr};

    use super::*;

    #[test]
    fn customers_have_different_names_and_documentation_addresses() {
        let names: BTreeSet<String> = (0..MAX_PEOPLE).map(|number| invent_customer(number).name).collect();
        let emails: BTreeSet<String> = (0..MAX_PEOPLE).map(|number| invent_customer(number).email).collect();
        assert_eq!((names.len() as u64, emails.len() as u64), (MAX_PEOPLE, MAX_PEOPLE));
        for number in 0..500 {
            let address: IpAddr = invent_device(number, number % 4).ip_address.parse().unwrap();
            let documented = match address {
                IpAddr::V4(address) => address.is_documentation(),
                IpAddr::V6(address) => address.segments()[..2] == [0x2001, 0xdb8],
            };
            assert!(documented, "{address}");
        }
        assert_eq!(invent_device(3, 1), invent_device(3, 1));
    }
}
