// What is wrong with the page as it stands, as one sentence each; `asked` says what to look at.
// Laid out: everything that a person could open is open. Numbers are CSS pixels.
(asked) => {
  const faults = [];
  const text = (element) => (element.innerText ?? element.textContent ?? "").trim().replace(/\s+/g, " ").slice(0, 40);
  const say = (element, what) => {
    const name = element.id ? `#${element.id}` : element.className && typeof element.className === "string" ? `.${element.className}` : "";
    faults.push(`${what}: <${element.tagName.toLowerCase()}${name}> ${text(element) || element.name || ""}`);
  };
  const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getBoundingClientRect().width > 0;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (walker.currentNode.textContent.trim() && !parent.closest("script, style, title, option") && shown(parent)) texts.push(parent);
  }
  const written = [...new Set(texts)];
  const wide = window.innerWidth;

  const layout = () => {
    if (document.scrollingElement.scrollWidth > wide) faults.push(`scrolls sideways: ${document.scrollingElement.scrollWidth} px of ${wide}`);
    for (const element of all("body *")) {
      const style = getComputedStyle(element), strip = element.closest(".tabs");
      const clips = style.overflowX !== "visible" && !element.closest("select, svg") && element.tagName !== "VIDEO";
      if (clips && !strip && element.scrollWidth > element.clientWidth + 1 && text(element)) say(element, `cut or scrolled sideways, ${element.scrollWidth} px in ${element.clientWidth}`);
      if (style.overflowY === "hidden" && element.scrollHeight > element.clientHeight + 2 && text(element)) say(element, "cut below");
    }
    for (const element of written) {
      if (element.closest(".tabs, svg")) continue;
      const range = document.createRange();
      range.selectNodeContents(element);
      const box = range.getBoundingClientRect();
      if (box.right > wide + 0.5 || box.left < -0.5) say(element, `outside the screen, ${Math.round(box.left)}..${Math.round(box.right)} of ${wide}`);
    }
    const canvas = document.createElement("canvas").getContext("2d");
    for (const element of all("select:not([multiple]), input[placeholder], textarea[placeholder]")) {
      const style = getComputedStyle(element);
      canvas.font = style.font;
      const said = element.tagName === "SELECT" ? element.selectedOptions[0]?.text ?? "" : element.tagName === "INPUT" ? element.placeholder : "";
      const room = element.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - (element.tagName === "SELECT" ? 16 : 0);
      if (canvas.measureText(said).width > room + 1) say(element, `too narrow for "${said}"`);
    }
  };

  const size = () => {
    for (const element of written) {
      let px = parseFloat(getComputedStyle(element).fontSize);
      if (element.closest("svg")) px *= element.getScreenCTM().a;
      if (px < 11.95) say(element, `letters of ${px.toFixed(1)} px`);
    }
  };

  // a link in the middle of a sentence is as high as its line: the exception of WCAG 2.2, 2.5.8
  const inSentence = (element) => {
    if (getComputedStyle(element).display !== "inline") return false;
    let block = element.parentElement;
    while (getComputedStyle(block).display === "inline") block = block.parentElement;
    const rest = [...block.childNodes].filter((node) => node !== element && !node.contains?.(element));
    return rest.some((node) => node.nodeType === 3 && /[\p{L}]{2}/u.test(node.textContent));
  };
  const targets = () => {
    for (const element of all("a[href], button, input, select, textarea, summary, [role=button]")) {
      const label = ["checkbox", "radio"].includes(element.type) ? element.closest("label") : null;
      if (element.type === "hidden" || (element.tagName === "A" && inSentence(element))) continue;
      const box = (label ?? element).getBoundingClientRect();
      if (box.height < asked.target - 0.5 || box.width < asked.target - 0.5) say(element, `${Math.round(box.width)}x${Math.round(box.height)} px to press, ${asked.target} needed`);
    }
  };

  const named = () => {
    const name = (element) => element.getAttribute("aria-label") || [...(element.labels ?? [])].map(text).join("") || element.title || (["INPUT", "SELECT", "TEXTAREA"].includes(element.tagName) ? "" : text(element) || [...element.querySelectorAll("img")].map((image) => image.alt).join(""));
    for (const element of all("a[href], button, input, select, textarea, summary")) if (element.type !== "hidden" && !name(element)) say(element, "has no name");
    for (const image of document.images) if (!image.hasAttribute("alt") || (!image.alt && image.id)) say(image, "has no alternative text");
    for (const element of all("svg")) if (!element.getAttribute("aria-label") && element.getAttribute("aria-hidden") !== "true") say(element, "has no name");
    if (document.querySelectorAll("h1").length !== 1) faults.push(`${document.querySelectorAll("h1").length} headings of the first rank`);
    const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
    for (const id of new Set(ids.filter((item, index) => ids.indexOf(item) !== index))) faults.push(`two elements have the id ${id}`);
    if (document.documentElement.lang !== asked.language) faults.push(`the page says that it is in ${document.documentElement.lang}`);
  };

  // contrast of WCAG 2.2, 1.4.3: (L1 + 0.05) / (L2 + 0.05) of relative luminances
  const parse = (colour) => { const parts = colour.match(/[\d.]+/g).map(Number); return colour.startsWith("color(srgb") ? [...parts.slice(0, 3).map((part) => 255 * part), parts[3] ?? 1] : [parts[0], parts[1], parts[2], parts[3] ?? 1]; };
  const over = (front, back) => [0, 1, 2].map((index) => front[index] * front[3] + back[index] * (1 - front[3])).concat(1);
  const luminance = (colour) => { const [r, g, b] = colour.slice(0, 3).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (element) => {
    const layers = [];
    for (let node = element; node; node = node.parentElement) {
      layers.push(parse(getComputedStyle(node).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const judge = (element, colour, what, least = 4.5) => {
    const back = ground(element), front = parse(colour);
    for (let node = element; node; node = node.parentElement) front[3] *= parseFloat(getComputedStyle(node).opacity);
    const light = [luminance(over(front, back)), luminance(back)].sort((a, b) => b - a);
    const ratio = (light[0] + 0.05) / (light[1] + 0.05);
    if (ratio < least) say(element, `${what} of contrast ${ratio.toFixed(2)}`);
  };
  const contrast = () => {
    for (const element of written) judge(element, element.closest("svg") ? getComputedStyle(element).fill : getComputedStyle(element).color, "letters");
    for (const element of all("input[placeholder], textarea[placeholder]")) judge(element, getComputedStyle(element, "::placeholder").color, "a placeholder");
    for (const element of all("input:not([type=checkbox], [type=radio]), select, textarea")) judge(element.parentElement, getComputedStyle(element).borderTopColor, "the edge of a field", 3);
  };

  const words = () => {
    for (const element of written) {
      if (element.closest("code, pre, [lang], [translate=no]") !== document.documentElement) continue;
      const own = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.textContent).join(" ");
      const said = asked.typed.reduce((rest, item) => rest.replaceAll(item, ""), own);
      if (/\b[a-z]+_[a-z_]+\b/.test(said)) say(element, "a code instead of words");
      if (said.split(/[·,()]/).some((part) => ["undefined", "None", "null", "NaN", "True", "False"].includes(part.trim()))) say(element, "a value of the program");
      if (asked.language === "en" && /\p{Script=Han}/u.test(said)) say(element, "not in English");
      if (asked.language === "zh-CN" && /\b[a-z]{2,} [a-z]{2,} [a-z]{2,}/i.test(said)) say(element, "not in Chinese");
    }
  };

  const looks = { layout, size, targets, named, contrast, words };
  for (const look of asked.looks) looks[look]();
  return [...new Set(faults)];
}
