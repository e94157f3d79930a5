use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    Rising,
    Falling,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Settings {
    top: u8,
    order: Order,
    #[serde(default)]
    share: f64,
    #[serde(default)]
    shout: bool,
    separator: Option<char>,
    name: Option<String>,
    slow: Option<Duration>,
    #[serde(default)]
    id: Id,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
struct Id(i64);

fn typed(texts: &[&str]) -> Result<Settings, ProgramError> {
    Params::parse(texts)?.typed()
}

#[test]
fn every_kind_of_field_is_read_from_text() {
    let texts = ["order=falling", "top=3", "share=0.5", "shout=true", "separator=;", "name=a=b", "slow=20ms", "id=-4"];
    let expected = Settings {
        top: 3,
        order: Order::Falling,
        share: 0.5,
        shout: true,
        separator: Some(';'),
        name: Some("a=b".into()),
        slow: Some("20ms".parse().unwrap()),
        id: Id(-4),
    };
    assert_eq!(typed(&texts).unwrap(), expected);
    let least = typed(&["top=0", "order=rising"]).unwrap();
    assert_eq!((least.name, least.slow, least.share), (None, None, 0.0));
}

#[test]
fn wrong_parameters_are_named() {
    let message = |texts: &[&str]| typed(texts).unwrap_err().to_string();
    assert_eq!(message(&["top=1"]), "parameter `order` is missing: give it as order=VALUE");
    assert_eq!(
        message(&["top=1", "order=rising", "tpo=2"]),
        "the program has no parameter `tpo`: it has top, order, share, shout, separator, name, slow, id"
    );
    assert_eq!(
        message(&["top=256", "order=rising"]),
        "parameter `top` has the value \"256\": it is not a whole number from 0 to 255"
    );
    assert_eq!(
        message(&["top=1", "order=up"]),
        "parameter `order` has the value \"up\": it is none of rising, falling"
    );
    assert!(
        message(&["top=1", "order=rising", "slow=fast"])
            .starts_with("parameter `slow` has the value \"fast\": \"fast\" is not a span")
    );
    assert_eq!(message(&["top"]), "parameter \"top\" is not of the form key=value");
    assert_eq!(message(&["top=1", "top=1"]), "parameter `top` is given twice: give it once");
    assert_eq!(message(&["=1"]), "parameter \"=1\" is not of the form key=value");
}

#[test]
fn a_program_without_parameters_refuses_any() {
    assert_eq!(Params::default().typed::<()>(), Ok(()));
    let error = Params::parse(["a=1"]).unwrap().typed::<()>().unwrap_err();
    assert_eq!(error.to_string(), "the program has no parameter `a`: it takes none");
}

#[test]
fn parameters_can_be_a_map() {
    let map: BTreeMap<String, u32> = Params::parse(["b=2", "a=1"]).unwrap().typed().unwrap();
    assert_eq!(map.into_iter().collect::<Vec<_>>(), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
}

#[test]
fn pairs_are_in_the_order_of_their_names() {
    let params = Params::from_pairs([("b", "2"), ("a", "1")]).unwrap();
    assert_eq!(params.to_pairs(), [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
    assert_eq!(params.get("b"), Some("2"));
    assert_eq!(params.iter().count(), 2);
}
